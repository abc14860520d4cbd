"""Heat maps: a row for each model or client, a column for each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mosaic_fl.report.page.drawing import LABEL, LONGEST, ROW, WIDTH, marked, svg, text
from mosaic_fl.report.page.words import percent, points, shortened

LETTER = 6.4  # width of a letter of a column's name
LEGIBLE = 23  # units of a cell that has space for its figure
FEW = 14  # columns that are legible on a phone
NAME = 14  # letters of a column's name
# Where white letters on a cell are as legible as black ones, in both schemes: a contrast of 4.5 (style.css).
STRONG = 0.755


@dataclass(frozen=True)
class Cell:
    """A cell's colour in 0..1, its figure, and what it says; `kind` is its scale: "cell", "plus", "minus" or "none"."""

    depth: float
    figure: str
    words: str
    kind: str = "cell"


Rows = Sequence[tuple[str, Sequence[Cell]]]


def heat_map(rows: Rows, columns: Sequence[str], about: str) -> str:
    """The cells under the names of their columns."""
    width = max(10.0, min(40.0, (WIDTH - LABEL) / max(1, len(columns))))
    height = min(width, ROW + 4.0)
    head = 12 + LETTER * max((len(shortened(name, NAME)) for name in columns), default=0)
    flat = all(LETTER * len(shortened(name, NAME)) < width - 4 for name in columns)
    head = 20.0 if flat else head
    parts = list[str]()
    for place, name in enumerate(columns):
        x = LABEL + (place + 0.5) * width
        words = escape(shortened(name, NAME))
        turned = "" if flat else f' transform="rotate(-90 {x + 4:.1f} {head - 6:.1f})"'
        at = f'x="{x:.1f}" text-anchor="middle"' if flat else f'x="{x + 4:.1f}"'
        parts.append(f'<text {at} y="{head - 6:.1f}"{turned}>{words}</text>')
    for line, (name, cells) in enumerate(rows):
        y = head + line * height
        parts.append(text(LABEL - 8, y + height / 2 + 4, shortened(name, LONGEST), "end"))
        parts += [_drawn(cell, LABEL + place * width, y, width, height) for place, cell in enumerate(cells)]
    size = (LABEL + width * len(columns), head + height * len(rows) + 2)
    least = 0.8 * size[0] if len(columns) > FEW else 0.0
    return svg(*size, about, parts, len(columns), least)


def _drawn(cell: Cell, x: float, y: float, width: float, height: float) -> str:
    box = f'<rect class="{cell.kind}" style="--share:{cell.depth:.3f}" x="{x:.1f}" y="{y:.1f}" '
    box += f'width="{width - 1:.1f}" height="{height - 1:.1f}"/>'
    if width >= LEGIBLE and cell.figure:
        kind = "figure strong" if cell.depth > STRONG and cell.kind != "none" else "figure"
        box += text(x + width / 2 - 0.5, y + height / 2 + 4, cell.figure, "middle", kind)
    return marked(cell.words, box)


def shares(rows: Sequence[tuple[str, Sequence[float | None]]], columns: Sequence[str], absent: str) -> Rows:
    """Cells of shares 0..1; `absent` says why one is None."""
    return [
        (name, [_share(name, column, v, absent) for column, v in zip(columns, values, strict=True)])
        for name, values in rows
    ]


def _share(row: str, column: str, value: float | None, absent: str) -> Cell:
    if value is None:
        return Cell(0.0, "", f"{row}, {column}: {absent}", "none")
    return Cell(value, f"{100 * value:.0f}", f"{row}, {column}: {percent(value)}")


def counts(rows: Sequence[tuple[str, Sequence[int]]], columns: Sequence[str], what: str) -> Rows:
    """Cells of counts, whose colour grows with the root; those of 0 are empty."""
    most = max((value for _, values in rows for value in values), default=0) or 1

    def cell(row: str, column: str, value: int) -> Cell:
        words = f"{row}, {column}: {value:,} {what}"
        figure = f"{value:,}" if value < 10_000 else f"{value / 1000:.0f}k"
        return Cell((value / most) ** 0.5, figure, words) if value else Cell(0.0, "", words, "none")

    return [(name, [cell(name, column, v) for column, v in zip(columns, values, strict=True)]) for name, values in rows]


def gains(rows: Sequence[tuple[str, Sequence[float | None]]], columns: Sequence[str]) -> Rows:
    """Cells of differences in points: blue where something is gained, orange where something is lost."""
    reach = max((abs(value) for _, values in rows for value in values if value is not None), default=0.0) or 1.0

    def cell(row: str, column: str, value: float | None) -> Cell:
        if value is None:
            return Cell(0.0, "", f"{row}, {column}: not known", "none")
        kind = "none" if abs(value) < 0.05 else "plus" if value > 0 else "minus"
        return Cell(abs(value) / reach, points(value, 0), f"{row}, {column}: {points(value)} points", kind)

    return [(name, [cell(name, column, v) for column, v in zip(columns, values, strict=True)]) for name, values in rows]
