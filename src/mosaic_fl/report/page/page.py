"""One HTML page about runs: it loads nothing from anywhere, and takes nothing in a result for HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.report.page import charts
from mosaic_fl.report.page.charts import Score
from mosaic_fl.report.page.facts import MOST_SITES, WATTS, Facts, rows_of
from mosaic_fl.report.page.grid_article import grid_article
from mosaic_fl.report.page.grid_facts import GridFacts, read_grid
from mosaic_fl.report.page.reading import read_facts
from mosaic_fl.report.page.template import PLACE, rendered
from mosaic_fl.runs.folder import read_marker
from mosaic_fl.storage.files import path_text, write_atomic

FILE = "report.html"
STRANGE = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)
"""What figures of a wrong form lead to."""
LARGEST = 2_900_000  # bytes of the articles of a page
WIDEST = 420  # pixels of a picture of samples on the page
PARTS = {
    "who": "Who took part",
    "models": "How good",
    "gain": "Gains and losses",
    "classes": "Classes",
    "sure": "Certainty",
    "teacher": "Contributions",
    "privacy": "Privacy and trust",
    "out": "Left out",
    "cost": "Cost",
    "again": "Again",
}


@dataclass(frozen=True)
class Table:
    """Runs side by side, with a `picture` of them; `shown` are the places of those that have an article, from 1."""

    runs: Sequence[Facts]
    shown: Sequence[int]
    picture: Markup


def write_page(folder: Path) -> Path:
    """Write the page about the run or the comparison in `folder` into it; returns its path.

    Raises UsageError where no run has ended, or no cell of the comparison has a result.
    """
    place = folder / FILE
    write_atomic(place, page_of([folder]))
    return place


def page_of(folders: Sequence[Path]) -> str:
    """The page about the runs and comparisons in `folders`.

    Raises UsageError as `write_page` does, and for figures of other forms than a run writes.
    """
    from jinja2 import TemplateError

    compared = [folder for folder in folders if (read_marker(folder) or {}).get("command") == "compare"]
    runs = [folder for folder in folders if folder not in compared]
    try:
        return page([read_facts(folder) for folder in runs], [read_grid(folder) for folder in compared])
    except (*STRANGE, TemplateError) as error:
        names = ", ".join(map(path_text, folders))
        raise UsageError(
            f"{names}: there are figures that no run of this version writes ({type(error).__name__}): the command that "
            "made the folder, with --resume, writes result.json again"
        ) from error


def page(runs: Sequence[Facts], grids: Sequence[GridFacts] = ()) -> str:
    """The page about `runs` and the comparisons `grids`; several runs stand side by side first.

    It has 3 MB at most: of many runs those that find no space have a row in the table alone, and of comparisons those
    settings that find none a row at a glance.
    """
    several = len(runs) + len(grids) > 1
    articles = [grid_article(grid, place, several, LARGEST // len(grids)) for place, grid in enumerate(grids, 1)]
    shown = list[int]()
    size = sum(len(article.encode()) for article in articles)
    for place, run in enumerate(runs, 1):
        article = _article(run, place, several=several)
        size += len(article.encode())
        if size > LARGEST and articles:
            break
        articles.append(article)
        shown.append(place)
    table = Table(runs, shown, _side_by_side(runs)) if len(runs) > 1 else None
    style = (PLACE / "style.css").read_text("utf-8")
    script = (PLACE / "script.js").read_text("utf-8")
    heading = _heading(runs, grids)
    return rendered("page.html.j2", heading=heading, articles=articles, style=style, script=script, table=table)


def _heading(runs: Sequence[Facts], grids: Sequence[GridFacts]) -> str:
    if len(runs) + len(grids) == 1:
        return runs[0].title if runs else f"Methods compared on {Path(grids[0].data).name}"
    counts = [(len(runs), "run"), (len(grids), "comparison")]
    return " and ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in counts if count)


def _article(run: Facts, place: int, *, several: bool) -> Markup:
    content = rendered(
        "run.html.j2",
        run=run,
        n=place,
        several=several,
        of=f" of {run.folder}" if several else "",
        rows=rows_of(run),
        parts=[(key, name) for key, name in PARTS.items() if _has(run, key)],
        seconds=[(k, v) for k, v in (run.result.get("seconds") or {}).items() if k != "total"],
        sent=_sent(run),
        watts=round(WATTS),
        scale=_scale,
    )
    return Markup(content)  # noqa: S704  the template has escaped it


def _has(run: Facts, part: str) -> bool:
    """Whether the page has this part; the template asks the same."""
    needs = {
        "models": run.scores,
        "gain": run.gains or run.at_home or run.homes,
        "classes": run.recalls,
        "sure": run.detail["calibration"],
        "teacher": run.listening or run.without,
    }
    return bool(needs.get(part, True))


def _sent(run: Facts) -> list[tuple[str, float]]:
    """Kilobytes from each site."""
    sizes = zip(run.names, run.result.get("bytes_up") or [], strict=False)
    return [(name, size / 1e3) for name, size in sizes if size][:MOST_SITES]


def _scale(row: Mapping[str, Any]) -> int:
    """How many times a picture of samples is enlarged."""
    return max(1, min(4, WIDEST // max(1, int(row["width"]))))


def _side_by_side(runs: Sequence[Facts]) -> Markup:
    scores = [
        Score(run.folder, run.result["accuracy"], *wilson(run.result["accuracy"], run.tested), about=f": {run.title}")
        for run in runs[:MOST_SITES]
        if run.result.get("accuracy") is not None
    ]
    return Markup(charts.bars(scores, "Accuracy of the shared model of each run"))  # noqa: S704
