"""How the tables of comparisons write numbers, and what these tables look like. Takes no torch."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

NONE = "–"


def with_sign(value: float) -> str:
    """As "+1.2" or "−1.2"."""
    return f"{value:+.1f}".replace("-", "−")


def spread(mean: float | None, std: float | None, *, sign: bool = False) -> str:
    """As "97.8 ± 0.4"; with `sign` as "+1.2 ± 0.4"; without ± for one seed."""
    if mean is None:
        return NONE
    text = with_sign(mean) if sign else f"{mean:.1f}"
    return text if std is None else f"{text} ± {std:.1f}"


def number(value: float | None) -> str:
    """A number with at least two significant digits, unless it is tiny: "0.35", "4.10", "120", "<0.01"."""
    if value is None:
        return NONE
    if 0 < value < 0.005:
        return "<0.01"
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:,.{digits}f}"


def markdown_line(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return f"| {' | '.join(text.replace('|', '/') for text in cells)} |"


def plain_table(title: str) -> Table:
    """An empty table for the terminal, at least as wide as its title."""
    return Table(
        title=Text(title),
        title_justify="left",
        title_style="dim",
        caption_justify="left",
        header_style="dim",
        min_width=len(title) + 1,
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
