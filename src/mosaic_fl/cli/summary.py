"""`mosaic summary`: one table over the cells of several comparisons."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from mosaic_fl.cli.options import Force
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free
from mosaic_fl.errors import UsageError, excerpt

NAMES = {".md": "summary.md", ".json": "summary.json"}
MAX_NAME = 30  # characters of a variant's name


def summary(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="of mosaic compare; NAME=FOLDER compares settings")
    ],
    *,
    out: Annotated[Path | None, typer.Option(help="folder for summary.md and summary.json, or one such file")] = None,
    force: Force = False,
) -> None:
    """Sum up comparisons: mean ranks and gaps to pooled training over data sets."""
    sources = [variant_and_folder(folder) for folder in folders]
    from mosaic_fl.comparison.merging import merge
    from mosaic_fl.comparison.reading import FILES, read_comparison
    from mosaic_fl.comparison.summary import summarise, to_json
    from mosaic_fl.comparison.summary_notes import summary_notes
    from mosaic_fl.report.comparison_summary import summary_markdown, summary_tables
    from mosaic_fl.storage.files import write_atomic

    points, notes = merge([(variant, read_comparison(folder)) for variant, folder in sources])
    content = summarise(points)
    notes += summary_notes(points, content)
    files = _files(out) if out else {}
    for path in files.values():
        require_free(path, force, *(folder / name for _, folder in sources for name in FILES))
    texts = {".md": summary_markdown(content, notes), ".json": to_json(content, notes)}
    for suffix, path in files.items():
        write_atomic(path, texts[suffix])
    results(json.loads(texts[".json"]))
    console = Console(file=sys.stdout)
    for table in summary_tables(content):
        console.print(table)
    for line in notes:
        console.print(Text(line))
    if files:
        print(f"Results: {', '.join(map(str, files.values()))}")


def variant_and_folder(argument: Path) -> tuple[str, Path]:
    """`old=runs/a` -> ("old", runs/a), and ("", the path) without a name.

    A folder that exists is taken as it stands, even with = in it. Raises UsageError for a name that is empty, too long
    or cannot be printed, and where no folder follows.
    """
    name, equals, folder = str(argument).partition("=")
    if not equals or "/" in name or argument.is_dir():
        return "", argument
    if not (name.strip() and name.isprintable() and len(name) <= MAX_NAME and folder):
        raise UsageError(f"{excerpt(str(argument))}: write NAME=FOLDER, with a name of at most {MAX_NAME} letters")
    return name.strip(), Path(folder)


def _files(out: Path) -> dict[str, Path]:
    """The files to write by suffix: `out` itself where it names one, else both in the folder `out`."""
    if out.is_dir():
        return {suffix: out / name for suffix, name in NAMES.items()}
    if out.suffix in NAMES:
        return {out.suffix: out}
    if out.exists():
        raise UsageError(f"{out} is a file: --out names a folder, or a file that ends in {' or '.join(NAMES)}")
    return {suffix: out / name for suffix, name in NAMES.items()}
