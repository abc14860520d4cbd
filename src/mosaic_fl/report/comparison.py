"""The output of a comparison: tables as Markdown and for the terminal, and one picture of all settings."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mosaic_fl.comparison.grid import METRICS
from mosaic_fl.comparison.paired import LEVEL
from mosaic_fl.comparison.table import Block, Row
from mosaic_fl.report.figures import NONE, markdown_line, number, plain_table, spread
from mosaic_fl.report.sheet import (
    BLUE,
    FAINT,
    HEAD,
    INK,
    LARGEST,
    MARGIN,
    MIDDLE,
    MUTED,
    PALE,
    VERMILION,
    blank_sheet,
    save,
    write,
)
from mosaic_fl.report.tables import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

QUALITY = ("AUROC %", "balanced %", "log-loss")
"""Columns beside the accuracy, where samples are rows of a table."""
FIGURES = ("models", "rounds", "MB up", "MB down", "s client", "s server")
# inches of a panel: names, bars, figures, and the gap between two panels
LABEL = 1.75
BAR = 2.0
VALUE = 0.85
GAP = 0.35
# inches: a bar, a panel's heading, and the axis below its bars
PITCH = 0.19
TITLE = 0.34
TICKS = 0.3
LONGEST_NAME = 22  # characters of a method's name in the picture


def to_markdown(tables: Sequence[Block]) -> str:
    """One heading and one table for each setting."""
    return "\n".join(_markdown(block) for block in tables)


def comparison_tables(blocks: Sequence[Block]) -> Iterator[Table]:
    """For each setting the figures of every method and, if there are any, those of rows and differences over seeds."""
    for block in blocks:
        yield _figures(block)
        if block.has_quality:
            yield _quality(block)
        if any(row.paired for row in block.rows):
            yield _differences(block)


def comparison_picture(blocks: Sequence[Block], path: Path) -> None:
    """Write a PNG with a panel for each setting: a bar for each method, its standard deviation over seeds a line.

    Panels of the same clients and α stand side by side. The method that the others are compared with is emphasised.
    Reference lines are pale, methods that need real data are hatched, methods with a caveat have a star. Raises
    MosaicError if `path` cannot be written.
    """
    across = max(1, len({(block.architectures, block.rounds) for block in blocks}))
    tall = TITLE + PITCH * max((len(block.rows) for block in blocks), default=0) + TICKS
    wide = LABEL + BAR + VALUE + GAP
    down = -(-len(blocks) // across)
    metric = METRICS[blocks[0].metric] if blocks else "accuracy"
    about = (
        f"test {metric} in percent, mean and standard deviation over seeds; pale: reference lines; hatched: real data; "
        "*: see table.md"
    )
    axes = blank_sheet(2 * MARGIN + across * wide - GAP, HEAD + down * tall + MARGIN, "Comparison", about)
    for place, block in enumerate(blocks):
        _panel(axes, block, MARGIN + place % across * wide, HEAD + place // across * tall)
    save(axes, path)


def heads_of(block: Block) -> list[str]:
    """The names of the columns with figures."""
    return ["accuracy %", *(QUALITY if block.has_quality else ()), *FIGURES]


def cells(block: Block, row: Row) -> list[str]:
    """A row as texts: its label, its figures in the order of `heads_of`, the difference and words about it."""
    if row.accuracy is None:
        return [row.label, *[NONE] * (len(heads_of(block)) + 1), row.note]
    difference = spread(row.paired.mean, row.paired.std, sign=True) if row.paired else ""
    words = "; ".join(part for part in (row.paired.verdict if row.paired else "", row.note) if part)
    model_count = f"{row.models_served:g}" if row.models_served is not None else NONE
    figures = [row.megabytes_up, row.megabytes_down, row.client_seconds, row.server_seconds]
    shares = [spread(*row.score("accuracy"))]
    if block.has_quality:
        loss = NONE if row.log_loss is None else f"{row.log_loss:.3f}"
        shares += [spread(*row.score("auroc")), spread(*row.score("balanced_accuracy")), loss]
    return [row.label, *shares, model_count, str(row.rounds), *map(number, figures), difference, words]


def _panel(axes: "Axes", block: Block, x: float, y: float) -> None:
    """Draw the panel of one setting with its top left corner at (x, y), in inches."""
    left = x + LABEL
    top = y + TITLE
    bottom = top + PITCH * len(block.rows)
    write(axes, x, y + 0.1, block.title, LARGEST, INK, weight="bold")
    for tick in (0, 50, 100):
        at = left + BAR * tick / 100
        axes.vlines(at, top, bottom, colors=FAINT, linewidth=1, zorder=0)
        write(axes, at, bottom + 0.1, f"{tick}", 7, MUTED, ha="center")
    for place, row in enumerate(block.rows):
        middle = top + PITCH * (place + 0.5)
        is_baseline = row.method == block.against
        weight, colour = ("bold", BLUE) if is_baseline else ("normal", INK)
        name = shorten(row.method, LONGEST_NAME) + "*" * bool(row.caveat)
        write(axes, left - 0.07, middle, name, 8, INK, ha="right", weight=weight)
        mean, std = row.score(block.metric)
        if mean is None:
            write(axes, left + 0.05, middle, shorten(row.note, 44), 7, MUTED)
            continue
        fill = BLUE if is_baseline else PALE if row.kind == "reference" else MIDDLE
        hatch = "////" if row.kind == "real data" else None
        percent = BAR / 100
        axes.barh(middle, percent * mean, 0.66 * PITCH, left, color=fill, hatch=hatch, edgecolor="white", lw=0)
        if std is not None:
            ends = (max(0.0, mean - std), min(100.0, mean + std))
            axes.hlines(middle, left + percent * ends[0], left + percent * ends[1], colors=VERMILION, linewidth=1.2)
        text = spread(mean, std)
        write(axes, left + BAR + VALUE, middle, text, 8, colour, ha="right", weight=weight)


def _markdown(block: Block) -> str:
    figures = heads_of(block)
    heads = [
        "method", *(head.replace("s client", "s at client").replace("s server", "s at server") for head in figures),
        f"against {block.against}{_by(block)}" if block.against else "difference", "",
    ]  # fmt: skip
    rule = ["---", *["---:"] * (len(figures) + 1), "---"]
    lines = [f"### {block.title}", "", markdown_line(heads), markdown_line(rule)]
    has_references = False
    for row in block.rows:
        if row.kind == "reference" and not has_references:
            lines.append(markdown_line(["*reference lines*", *[""] * (len(figures) + 2)]))
            has_references = True
        lines.append(markdown_line(cells(block, row)))
    return "\n".join(lines) + "\n"


def _by(block: Block) -> str:
    """The metric of the differences in words, where it is not the accuracy."""
    return f" by {METRICS[block.metric]}" if block.metric != "accuracy" else ""


def _figures(block: Block) -> Table:
    table = plain_table(block.title)
    table.add_column("", overflow="fold")
    plain = replace(block, rows=tuple(replace(row, log_loss=None) for row in block.rows))
    heads = heads_of(plain)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in _with_sections(table, block.rows):
        if row.accuracy is None:
            continue
        label, *figures = cells(plain, row)[: 1 + len(heads)]
        table.add_row(Text(label), *figures, style=_style(block, row))
    notes = [f"{row.method}: {row.note}" for row in block.rows if row.note]
    table.caption = Text("\n".join(notes)) if notes else None
    return table


def _quality(block: Block) -> Table:
    """The accuracy and the figures beside it: all would not fit into 80 columns of a terminal."""
    table = plain_table(f"predictions, ordered by {METRICS[block.metric]}")
    table.add_column("", overflow="fold")
    heads = heads_of(block)[: 1 + len(QUALITY)]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in _with_sections(table, block.rows):
        if row.accuracy is not None:
            label, *figures = cells(block, row)[: 1 + len(heads)]
            table.add_row(Text(label), *figures, style=_style(block, row))
    return table


def _differences(block: Block) -> Table:
    table = plain_table(f"paired over seeds: the difference to {block.against}{_by(block)}, in points")
    table.add_column("", overflow="fold")
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column(f"paired t test at {LEVEL:g}, Holm")
    for row in _with_sections(table, block.rows):
        if row.paired is not None:
            difference = spread(row.paired.mean, row.paired.std, sign=True)
            table.add_row(Text(row.label), difference, row.paired.verdict, style=_style(block, row))
    return table


def _with_sections(table: Table, rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows; draw a line in the table before the first reference line."""
    for place, row in enumerate(rows):
        if place and row.kind == "reference" and rows[place - 1].kind != "reference":
            table.add_section()
        yield row


def _style(block: Block, row: Row) -> str | None:
    return "bold" if row.method == block.against else "dim" if row.kind == "reference" else None
