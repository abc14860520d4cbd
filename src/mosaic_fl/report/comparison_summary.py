"""The summary of several comparisons as tables: for the terminal and as Markdown."""

from collections.abc import Callable, Iterator, Sequence

from rich.table import Table
from rich.text import Text

from mosaic_fl.comparison.interval import LEVEL, Estimate
from mosaic_fl.comparison.summary import Difference, Summary, SummaryRow
from mosaic_fl.report.figures import NONE, markdown_line, plain_table, with_sign

PERCENT = f"{100 * LEVEL:g} %"
FIGURES = ("cells", "rank", PERCENT, "won", "gap", PERCENT)
WORST = ("worst gap", "its cell")
PAIRS = ("cells", "difference", PERCENT, "better", "worse")
PAIRS_TITLE = "paired by cell: the difference to the first variant, in points"
NO_RANK = "no rank: reference lines, real data, or not in every comparison"


def summary_tables(summary: Summary) -> Iterator[Table]:
    """The figures of every row, its worst cell and, with several variants, their paired differences."""
    table = _table(f"{_title(summary)}; gap to pooled training in points", FIGURES)
    for place, row in enumerate((*summary.rows, *summary.others)):
        if place == len(summary.rows):
            table.add_section()
        table.add_row(Text(row.label), *_figures(row, summary), style="dim" if row.rank is None else None)
    yield table
    if any(row.worst for row in (*summary.rows, *summary.others)):
        worst = plain_table("the worst cell of each: gap to pooled training in points")
        worst.add_column("", overflow="fold")
        worst.add_column("gap", justify="right", no_wrap=True)
        worst.add_column("cell", overflow="fold")
        for row in (*summary.rows, *summary.others):
            if row.worst:
                worst.add_row(Text(str(row.competitor)), with_sign(row.worst.gap), Text(row.worst.cell))
        yield worst
    if summary.differences:
        pairs = _table(PAIRS_TITLE, PAIRS)
        for difference in summary.differences:
            pairs.add_row(Text(_against(difference)), *_pair(difference, summary))
        yield pairs


def summary_markdown(summary: Summary, notes: Sequence[str]) -> str:
    """The same tables as Markdown, and the notes as a list."""
    lines = [f"### {_title(summary)}", "", *_heads("method", *FIGURES, *WORST)]
    for place, row in enumerate((*summary.rows, *summary.others)):
        if place == len(summary.rows):
            lines.append(markdown_line([f"*{NO_RANK}*", *[""] * len((*FIGURES, *WORST))]))
        worst = [with_sign(row.worst.gap), row.worst.cell] if row.worst else [NONE, ""]
        lines.append(markdown_line([row.label, *_figures(row, summary), *worst]))
    if summary.differences:
        lines += ["", f"### {PAIRS_TITLE}", "", *_heads("method", *PAIRS)]
        lines += [markdown_line([_against(d), *_pair(d, summary)]) for d in summary.differences]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def _title(summary: Summary) -> str:
    sets = f"{len(summary.sets)} data set{'s' * (len(summary.sets) != 1)}"
    return f"{sets}, {summary.cells} cell{'s' * (summary.cells != 1)}"


def _figures(row: SummaryRow, summary: Summary) -> list[str]:
    """A row's figures as texts, in the order of `FIGURES`."""
    rank = f"{row.rank.mean:.2f}" if row.rank else NONE
    gap = with_sign(row.gap.mean) if row.gap else NONE
    won = str(row.won) if row.won is not None else NONE
    return [_count(row.cells, summary), rank, _interval(row.rank, "{:.2f}".format), won, gap, _interval(row.gap)]


def _pair(difference: Difference, summary: Summary) -> list[str]:
    """A difference as texts, in the order of `PAIRS`."""
    points = difference.points
    if points is None:
        return [_count(0, summary), *[NONE] * 4]
    return [
        _count(points.count, summary), with_sign(points.mean), _interval(points), str(difference.better),
        str(difference.worse),
    ]  # fmt: skip


def _against(difference: Difference) -> str:
    return f"{difference.competitor} against {difference.against.variant or difference.against}"


def _count(cells: int, summary: Summary) -> str:
    """As "8", or "4 of 8" where some have no result."""
    return str(cells) if cells == summary.cells else f"{cells} of {summary.cells}"


def _interval(estimate: Estimate | None, write: Callable[[float], str] = with_sign) -> str:
    """As "−4.2 … −1.0"; in words or "–" where there is no interval."""
    if estimate is None or estimate.count == 1:
        return NONE
    if estimate.low is None or estimate.high is None:
        return "no spread"
    return f"{write(estimate.low)} … {write(estimate.high)}"


def _heads(*heads: str) -> list[str]:
    return [markdown_line(heads), markdown_line(["---", *["---:"] * (len(heads) - 1)])]


def _table(title: str, heads: Sequence[str]) -> Table:
    table = plain_table(title)
    table.add_column("", overflow="fold")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    return table
