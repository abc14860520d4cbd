"""One HTML page about runs: it loads nothing from anywhere, and takes nothing in a result for HTML."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mosaic_fl.report.page import charts, maps, plots, story, words
from mosaic_fl.report.page.charts import Score
from mosaic_fl.report.page.facts import MOST_SITES, WATTS, Facts, rows_of
from mosaic_fl.report.page.intervals import wilson
from mosaic_fl.report.page.reading import read_facts
from mosaic_fl.storage.files import write_atomic

FILE = "report.html"
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


class _Drawn:
    """The functions of a module of drawings, whose SVG a template takes as it is: every name in it is escaped."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._module, name)

        def draw(*values: Any) -> Any:
            result = function(*values)
            return Markup(result) if isinstance(result, str) else result  # noqa: S704

        return draw


def write_page(folder: Path) -> Path:
    """Write the page about the run in `folder` into it; returns its path. Raises UsageError where no run has ended."""
    place = folder / FILE
    write_atomic(place, page([read_facts(folder)]))
    return place


def page(runs: Sequence[Facts]) -> str:
    """The page about `runs`; of several, they stand side by side first.

    It has 3 MB at most: of many runs those that find no space have a row in the table alone.
    """
    several = len(runs) > 1
    articles = list[Markup]()
    shown = list[int]()
    size = 0
    for place, run in enumerate(runs, 1):
        article = _article(run, place, several=several)
        size += len(article.encode())
        if size > LARGEST and articles:
            break
        articles.append(article)
        shown.append(place)
    table = Table(runs, shown, _side_by_side(runs)) if several else None
    heading = runs[0].title if not several else f"{len(runs)} runs"
    return whole(heading, articles, table=table)


def whole(heading: str, articles: Sequence[Markup], **values: Any) -> str:
    """A page of `articles`, which are HTML."""
    place = files("mosaic_fl.report.page")
    style = (place / "style.css").read_text("utf-8")
    script = (place / "script.js").read_text("utf-8")
    return rendered("page.html.j2", heading=heading, articles=articles, style=style, script=script, **values)


def rendered(template: str, **values: Any) -> str:
    """A template of this package with `values`, of which none is taken for HTML but drawings."""
    from jinja2 import Environment, FunctionLoader

    place = files("mosaic_fl.report.page")
    loader = FunctionLoader(lambda name: (place / name).read_text("utf-8"))
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=loader)
    tools = {"w": words, "s": story, "c": _Drawn(charts), "m": _Drawn(maps), "p": _Drawn(plots)}
    return environment.get_template(template).render(**tools, **values)


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
        "gain": run.gains or run.at_home,
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
