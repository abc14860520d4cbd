"""Charts in rows: accuracies with their intervals, gains, pairs, areas of attacks, seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

from mosaic_fl.report.page.drawing import LABEL, NUMBER, ROW, WIDTH, label, marked, svg, text, whisker
from mosaic_fl.report.page.words import percent, points

SPAN = WIDTH - LABEL - NUMBER


@dataclass(frozen=True)
class Score:
    """A share in 0..1 with the ends of its 95 % interval; `about` says more of it.

    `own` marks a client's own model, or a reference; `each` are the shares of which this is the mean.
    """

    name: str
    value: float
    low: float
    high: float
    own: bool = False
    about: str = ""
    each: tuple[float, ...] = ()


@dataclass(frozen=True)
class Change:
    """A difference in points with the ends of its interval, if any; None where it is not known."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    about: str = ""


@dataclass(frozen=True)
class Pair:
    """A share alone and together, of so many `samples`."""

    name: str
    alone: float
    together: float
    samples: int


def bars(scores: Sequence[Score], about: str) -> str:
    """Shares as bars with their intervals, one below the other."""
    parts = _axis(len(scores))
    for place, score in enumerate(scores):
        y = place * ROW
        words = f"{score.name}: {percent(score.value)} ({percent(score.low)} to {percent(score.high)}){score.about}"
        mark = f'<rect class="{"own" if score.own else "shared"}" x="{LABEL}" y="{y + 5}" height="14" '
        mark += f'width="{max(1.0, SPAN * score.value):.1f}"/>'
        if score.high > score.low:
            mark += whisker(LABEL + SPAN * score.low, LABEL + SPAN * score.high, y + 12)
        for value in score.each if len(score.each) > 1 else ():
            mark += f'<circle class="seed" cx="{LABEL + SPAN * value:.1f}" cy="{y + 12}" r="2.5"/>'
        parts += [marked(words, mark), label(place, score.name)]
        parts.append(text(WIDTH - NUMBER + 8, y + 16, percent(score.value)))
    return svg(WIDTH, ROW * len(scores) + 20, about, parts)


def differences(changes: Sequence[Change], about: str) -> str:
    """Gains to the right of the middle, losses to the left, in points."""
    ends = [abs(end) for c in changes for end in (c.value, c.low, c.high) if end is not None]
    reach = max([*ends, 1.0])
    middle = LABEL + SPAN / 2
    scale = SPAN / 2 / reach
    parts = [f'<path class="axis" d="M{middle} 0V{ROW * len(changes)}"/>']
    for place, change in enumerate(changes):
        y = place * ROW
        parts.append(label(place, change.name))
        if change.value is None:
            parts.append(marked(f"{change.name}: not known", text(middle + 8, y + 16, "not known")))
            continue
        value = change.value
        x = middle if value >= 0 else middle + value * scale
        kind = "gain" if value >= 0 else "loss"
        mark = f'<rect class="{kind}" x="{x:.1f}" y="{y + 5}" height="14" width="{max(1.0, abs(value) * scale):.1f}"/>'
        words = f"{change.name}: {points(value)} points"
        if change.low is not None and change.high is not None:
            mark += whisker(middle + change.low * scale, middle + change.high * scale, y + 12)
            words += f" ({points(change.low)} to {points(change.high)})"
        parts += [marked(words + change.about, mark), text(WIDTH - NUMBER + 8, y + 16, points(value))]
    return svg(WIDTH, ROW * len(changes) + 4, about, parts)


def pairs(rows: Sequence[Pair], about: str) -> str:
    """Two shares of each site: a ring for its own model, a disc for the shared one, and a line between them."""
    parts = _axis(len(rows))
    for place, row in enumerate(rows):
        y = place * ROW + 12
        left = LABEL + SPAN * row.alone
        right = LABEL + SPAN * row.together
        kind = "gained" if row.together >= row.alone else "lost"
        change = 100 * (row.together - row.alone)
        words = f"{row.name}: {percent(row.alone)} alone, {percent(row.together)} by the shared model"
        mark = f'<path class="{kind}" d="M{left:.1f} {y}H{right:.1f}"/>'
        mark += f'<circle class="ring" cx="{left:.1f}" cy="{y}" r="6"/>'
        mark += f'<circle class="shared" cx="{right:.1f}" cy="{y}" r="4"/>'
        parts += [label(place, row.name), marked(f"{words}, of {row.samples:,} samples", mark)]
        parts.append(text(WIDTH - NUMBER + 13, y + 4, points(change)))
    return svg(WIDTH, ROW * len(rows) + 20, about, parts)


def areas(rows: Sequence[Score], limit: float, about: str) -> str:
    """AUCs of attacks from 0.5, which is a guess, to 1; a line at the site's `limit`."""
    parts = list[str]()
    bottom = ROW * len(rows)
    for tick in (0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        x = LABEL + SPAN * _area(tick)
        parts += [f'<path class="axis" d="M{x:.1f} 0V{bottom}"/>', text(x, bottom + 14, f"{tick:.1f}", "middle")]
    at = LABEL + SPAN * _area(limit)
    parts.append(f'<path class="limit" d="M{at:.1f} 0V{bottom}"/>')
    for place, row in enumerate(rows):
        y = place * ROW + 12
        mark = whisker(LABEL + SPAN * _area(row.low), LABEL + SPAN * _area(row.high), y)
        kind = "gain" if row.high <= limit else "loss"
        mark += f'<circle class="{kind}" cx="{LABEL + SPAN * _area(row.value):.1f}" cy="{y}" r="5"/>'
        words = f"{row.name}: {row.value:.2f} ({row.low:.2f} to {row.high:.2f}), limit {limit:g}{row.about}"
        parts += [label(place, row.name), marked(words, mark), text(WIDTH - NUMBER + 8, y + 4, f"{row.value:.2f}")]
    return svg(WIDTH, bottom + 20, about, parts)


def amounts(rows: Sequence[tuple[str, float]], about: str, words: str) -> str:
    """Amounts as bars from 0 to the largest, in the unit that `words` names."""
    most = max((value for _, value in rows), default=0.0) or 1.0
    parts = list[str]()
    for place, (name, value) in enumerate(rows):
        y = place * ROW
        mark = f'<rect class="shared" x="{LABEL}" y="{y + 5}" height="14" width="{max(1.0, SPAN * value / most):.1f}"/>'
        shown = f"{value:,.1f}"
        parts += [label(place, name), marked(f"{name}: {shown} {words}", mark), text(WIDTH - NUMBER + 8, y + 16, shown)]
    return svg(WIDTH, ROW * len(rows) + 4, about, parts)


def _area(value: float) -> float:
    """The place of an AUC on a scale from 0.5 to 1."""
    return min(1.0, max(0.0, (value - 0.5) * 2))


def _axis(rows: int) -> list[str]:
    """Lines at each quarter of 100 %."""
    parts = list[str]()
    for tick in (0, 25, 50, 75, 100):
        x = LABEL + SPAN * tick / 100
        parts += [f'<path class="axis" d="M{x:.1f} 0V{ROW * rows}"/>', text(x, ROW * rows + 14, f"{tick}", "middle")]
    return parts
