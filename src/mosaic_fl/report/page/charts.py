"""Drawings of a report as SVG: each says what it shows, every mark has its figure, and colours are the page's."""

from collections.abc import Sequence
from html import escape

from mosaic_fl.report.page.facts import Score

WIDTH = 640  # units; a page scales them
ROW = 24
LABEL = 200  # for names on the left
NUMBER = 64  # for figures on the right
LETTER = 6.4  # width of a letter of a label
SQUARE = 320  # side of a plot of two shares
EDGE = 36


def bars(scores: Sequence[Score]) -> str:
    """Accuracies as bars with their intervals, one below the other."""
    scale = WIDTH - LABEL - NUMBER
    parts = list[str]()
    for place, score in enumerate(scores):
        y = place * ROW
        words = f"{score.name}: {percent(score.value)} ({percent(score.low)} to {percent(score.high)})"
        left = LABEL + scale * score.low
        right = LABEL + scale * score.high
        mark = f'<rect class="{"own" if score.own else "shared"}" x="{LABEL}" y="{y + 5}" height="14" '
        mark += f'width="{max(1.0, scale * score.value):.1f}"/>'
        whisker = (
            f'<path class="whisker" d="M{left:.1f} {y + 12}H{right:.1f}M{left:.1f} {y + 8}v8M{right:.1f} {y + 8}v8"/>'
        )
        parts.append(marked(words, mark + whisker))
        parts.append(text(LABEL - 8, y + 16, fitting(score.name), "end"))
        parts.append(text(WIDTH - NUMBER + 8, y + 16, percent(score.value)))
    return svg(WIDTH, ROW * len(scores) + 4, "Accuracy on the test set, with 95 % intervals", parts)


def differences(names: Sequence[str], points: Sequence[float | None], about: str) -> str:
    """What each client gains (to the right) or loses (to the left), in points of accuracy."""
    reach = max([abs(p) for p in points if p is not None] + [1.0])
    middle = LABEL + (WIDTH - LABEL - NUMBER) / 2
    scale = (WIDTH - LABEL - NUMBER) / 2 / reach
    parts = [f'<path class="axis" d="M{middle} 0V{ROW * len(names)}"/>']
    for place, (name, value) in enumerate(zip(names, points, strict=True)):
        y = place * ROW
        parts.append(text(LABEL - 8, y + 16, fitting(name), "end"))
        if value is None:
            parts.append(text(middle + 8, y + 16, "not known"))
            continue
        x = middle if value >= 0 else middle + value * scale
        kind = "gain" if value >= 0 else "loss"
        mark = f'<rect class="{kind}" x="{x:.1f}" y="{y + 5}" height="14" width="{max(1.0, abs(value) * scale):.1f}"/>'
        parts.append(marked(f"{name}: {value:+.1f} points", mark))
        parts.append(text(WIDTH - NUMBER + 8, y + 16, f"{value:+.1f}"))
    return svg(WIDTH, ROW * len(names) + 4, about, parts)


def heat_map(rows: Sequence[tuple[str, Sequence[float | None]]], columns: Sequence[str], about: str) -> str:
    """Shares 0..1 as a table of coloured cells; a cell without a figure is empty."""
    cell = max(10.0, min(44.0, (WIDTH - LABEL) / max(1, len(columns))))
    height = min(cell, ROW + 4.0)
    head = 12 + LETTER * max((len(fitting(name, 14)) for name in columns), default=0)
    parts = list[str]()
    for place, name in enumerate(columns):
        x = LABEL + (place + 0.5) * cell
        turned = f'transform="rotate(-90 {x + 4:.1f} {head - 6:.1f})"'
        parts.append(f'<text x="{x + 4:.1f}" y="{head - 6:.1f}" {turned}>{escape(fitting(name, 14))}</text>')
    for line, (name, values) in enumerate(rows):
        y = head + line * height
        parts.append(text(LABEL - 8, y + height / 2 + 4, fitting(name), "end"))
        for place, value in enumerate(values):
            if value is None:
                continue
            x = LABEL + place * cell
            box = f'<rect class="cell" style="--share:{value:.3f}" x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" '
            box += f'height="{height - 1:.1f}"/>'
            if cell >= 26:
                strong = " strong" if value > 0.55 else ""
                box += f'<text class="figure{strong}" x="{x + cell / 2 - 0.5:.1f}" y="{y + height / 2 + 4:.1f}" '
                box += f'text-anchor="middle">{100 * value:.0f}</text>'
            parts.append(marked(f"{name}, {columns[place]}: {percent(value)}", box))
    return svg(LABEL + cell * len(columns), head + height * len(rows) + 2, about, parts)


def reliability(bins: Sequence[Sequence[float]]) -> str:
    """Accuracy against confidence, a circle a bin, its area by the number of samples; right is on the diagonal."""
    total = sum(count for count, *_ in bins)
    parts = [
        _frame("confidence", "accuracy"),
        f'<path class="axis" d="M{EDGE} {SQUARE + EDGE}L{SQUARE + EDGE} {EDGE}"/>',
    ]
    for count, sure, right in bins:
        x, y = _place(sure, right)
        words = f"{count:,} samples of confidence {percent(sure)}: {percent(right)} are right"
        radius = 3 + 13 * (count / total) ** 0.5
        parts.append(marked(words, f'<circle class="shared" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'))
    return svg(SQUARE + 2 * EDGE, SQUARE + 2 * EDGE, "How often the global model is right, by how sure it is", parts)


def abstaining(curve: Sequence[Sequence[float]]) -> str:
    """Accuracy of what is answered against the share that is answered, the most certain first."""
    places = [_place(share, value) for share, value in curve]
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [_frame("share answered", "accuracy"), f'<path class="line" d="{line}"/>']
    for (share, value), (x, y) in zip(curve, places, strict=True):
        words = f"answering the surest {percent(share)}: {percent(value)} are right"
        parts.append(marked(words, f'<circle class="shared" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'))
    return svg(SQUARE + 2 * EDGE, SQUARE + 2 * EDGE, "Accuracy if the model answers only what it is sure of", parts)


def svg(width: float, height: float, about: str, parts: Sequence[str]) -> str:
    """A drawing that says what it shows."""
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" style="max-width:{width:.0f}px"'
    return f'<svg role="group" aria-label="{escape(about)}" {size}>{"".join(parts)}</svg>'


def marked(words: str, mark: str) -> str:
    """A mark that tells `words` under the mouse, to the keyboard, and to a screen reader."""
    return f'<g class="mark" tabindex="0" role="img" aria-label="{escape(words)}">{mark}</g>'


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def fitting(name: str, most: int = 30) -> str:
    """A name of `most` letters at most."""
    return name if len(name) <= most else name[: most - 1] + "…"


def percent(share: float) -> str:
    """As "98.2 %"."""
    return f"{100 * share:.1f} %"


def _place(x: float, y: float) -> tuple[float, float]:
    return EDGE + SQUARE * x, EDGE + SQUARE * (1 - y)


def _frame(across: str, up: str) -> str:
    """The frame of a plot of two shares with its ticks."""
    parts = [f'<rect class="frame" x="{EDGE}" y="{EDGE}" width="{SQUARE}" height="{SQUARE}"/>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _place(tick, tick)
        parts.append(text(x, SQUARE + EDGE + 14, f"{100 * tick:.0f}", "middle"))
        parts.append(text(EDGE - 6, y + 4, f"{100 * tick:.0f}", "end"))
    parts.append(text(EDGE + SQUARE / 2, SQUARE + 2 * EDGE - 6, f"{across}, %", "middle"))
    parts.append(text(EDGE, EDGE - 10, f"{up}, %"))
    return "".join(parts)
