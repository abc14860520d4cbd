"""The part of a page about one comparison."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from markupsafe import Markup

from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.report.figures import NONE, spread
from mosaic_fl.report.page.facts import MOST_CLASSES, WATTS
from mosaic_fl.report.page.grid_facts import GridFacts
from mosaic_fl.report.page.template import rendered
from mosaic_fl.report.page.words import percent

MOST_CELLS = 400  # in the table of every cell


def grid_article(grid: GridFacts, place: int, several: bool, largest: int) -> Markup:
    """The HTML of the comparison at `place` from 1, of `largest` bytes: fewer settings have a part where it must be."""
    shown = min(len(grid.settings), MOST_CLASSES)
    while len((content := _content(grid, place, several, shown)).encode()) > largest and shown > 1:
        shown //= 2
    return Markup(content)  # noqa: S704  the template has escaped it


def _content(grid: GridFacts, place: int, several: bool, shown: int) -> str:
    return rendered(
        "grid.html.j2",
        grid=grid,
        n=place,
        several=several,
        of=f" of {grid.folder}" if several else "",
        shown=shown,
        names=[str(k) for k in range(1, len(grid.settings) + 1)],
        cells=list(islice(_cells(grid), MOST_CELLS)),
        count=sum(1 for _ in _cells(grid)),
        tested=any(setting.tests for setting in grid.settings),
        watts=round(WATTS),
        signed=_signed,
    )


def _cells(grid: GridFacts) -> Iterator[Mapping[str, Any]]:
    """Every cell with the number of its setting and its interval."""
    for place, setting in enumerate(grid.settings, 1):
        for cells in setting.cells.values():
            for cell in cells:
                samples = setting.tests.get(str(cell["seed"]), 0)
                value = cell["accuracy"]
                low, high = wilson(value or 0.0, samples)
                interval = NONE if value is None or not samples else f"{percent(low)} to {percent(high)}"
                yield {**cell, "place": place, "interval": interval}


def _signed(row: Mapping[str, Any]) -> str:
    """The difference of a row from the method that it is compared with."""
    return "" if row.get("difference") is None else spread(row["difference"], row.get("difference_std"), sign=True)
