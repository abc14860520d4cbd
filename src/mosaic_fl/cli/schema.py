"""`mosaic schema`: draft the schema of tables that all sites share, or hold data against one."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from mosaic_fl.cli.files import require_free
from mosaic_fl.cli.options import Force, words
from mosaic_fl.config import DataConfig
from mosaic_fl.config.experiment import MISSING
from mosaic_fl.data.places import existing
from mosaic_fl.errors import UsageError

MOST = 30  # columns that the closing line names
SCHEMA = ".toml"  # the suffix of a schema of tables


def schema(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="a site's table: CSV, TSV or Parquet")],
    *,
    label_column: Annotated[str | None, typer.Option(metavar="NAME", help="the column of classes")] = None,
    ignore: Annotated[str | None, typer.Option(metavar="NAME,…", help="columns that are no features")] = None,
    missing: Annotated[
        str | None, typer.Option(metavar="WORD,…", help="words for a missing value [NA,NaN,?,null]")
    ] = None,
    least_rows: Annotated[
        int, typer.Option(metavar="N", min=1, help="rows that stand behind each value that is written")
    ] = DataConfig().least_rows,
    check: Annotated[Path | None, typer.Option(metavar="FILE", help="hold DATA against this schema instead")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="write here instead of the screen")] = None,
    force: Force = False,
) -> None:
    """Draft the schema of a table for all sites to agree on; with --check, list how data differ from one."""
    existing(data)
    if check is not None:
        drafting = {"--ignore": ignore, "--missing": missing, "--out": out}
        if idle := [option for option, value in drafting.items() if value]:
            raise UsageError(f"--check drafts nothing: leave out {', '.join(idle)}")
        swapped = data.suffix.lower() == SCHEMA and check.suffix.lower() != SCHEMA  # --check DATA FILE reads as well
        table, file = (check, data) if swapped else (data, check)
        _check(existing(table), existing(file), label_column)
        return
    if not label_column:
        raise UsageError("say which column has the classes: --label-column NAME")
    if out:
        if out.suffix.lower() != SCHEMA:
            raise UsageError(f"--out {out}: a schema of tables is TOML, so end its name in .toml")
        require_free(out, force, data)
    _draft(
        data,
        label_column,
        dict.fromkeys(words("ignore", ignore) if ignore else [], "--ignore names it"),
        least_rows,
        missing,
        out,
    )


def _draft(data: Path, label: str, ignore: dict[str, str], least: int, missing: str | None, out: Path | None) -> None:
    from mosaic_fl.data.fields.schema_toml import schema_toml
    from mosaic_fl.data.names import listing
    from mosaic_fl.data.table.draft import draft, tell
    from mosaic_fl.data.table.reading import read_frames
    from mosaic_fl.data.table.rows import table_of
    from mosaic_fl.storage.files import write_atomic

    empty = MISSING if missing is None else words("missing", missing)
    drafted = draft(read_frames([data], str(data)), label, ignore=ignore, least=least, missing=empty)
    tell(drafted, str(data))
    text = schema_toml(drafted.schema, list(drafted.left_out))
    counts = Counter(column.type for column in table_of(drafted.schema).columns)
    types = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(f"{drafted.schema.summary}: {types}; read the schema, and change it, before you send it", file=sys.stderr)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomic(out, text)
        print(f"Schema: {out}")
    if full := [column.name for column in table_of(drafted.schema).columns if not column.missing]:
        names = listing(full, MOST)
        print(f"Never missing here: {names} (set missing = true where another site may lack them)", file=sys.stderr)


def _check(data: Path, file: Path, label: str | None) -> None:
    from mosaic_fl.config import ReadingConfig
    from mosaic_fl.data.schema_file import read_schema
    from mosaic_fl.data.table.differences import differences
    from mosaic_fl.data.table.reading import read_frames

    frame = read_frames([data], str(data))
    found = differences(frame, read_schema(file), ReadingConfig(label_column=label or ""))
    for difference in found:
        print(f"{'cannot be used' if difference.fatal else 'differs'}: {difference.text}")
    fatal = sum(difference.fatal for difference in found)
    if fatal:
        raise UsageError(f"{data} cannot be used with {file}: {fatal} of {len(found)} differences are in the way")
    print(f"{data} can be used with {file}: {len(frame)} rows")
