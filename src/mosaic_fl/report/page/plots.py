"""Plots of two shares against each other: reliability, abstaining, and what methods cost."""

from collections.abc import Sequence
from math import log10

from mosaic_fl.report.page.drawing import marked, svg, text
from mosaic_fl.report.page.words import percent, shortened

SQUARE = 320  # side of a plot of two shares
EDGE = 40
FLOORS = (0.0, 0.2, 0.6, 0.8)  # whose quarters up to 100 % are round numbers
LEAST_MB = 1e-3
LETTER = 6.6  # width of a letter
LINE = 13  # between two names


def reliability(bins: Sequence[Sequence[float]]) -> str:
    """Accuracy against confidence, a circle a bin, its area by the number of samples; right is on the diagonal."""
    total = sum(count for count, *_ in bins)
    parts = [
        _frame("confidence", "accuracy"),
        f'<path class="limit" d="M{EDGE} {SQUARE + EDGE}L{SQUARE + EDGE} {EDGE}"/>',
    ]
    for count, sure, right in bins:
        x, y = _place(sure, right)
        words = f"{count:,} samples of confidence {percent(sure)}: {percent(right)} are right"
        radius = 3 + 13 * (count / total) ** 0.5
        parts.append(marked(words, f'<circle class="shared see" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'))
    return svg(SQUARE + 2 * EDGE, SQUARE + 2 * EDGE, "How often the shared model is right, by how sure it is", parts)


def abstaining(curve: Sequence[Sequence[float]]) -> str:
    """Accuracy of what is answered against the share that is answered, the most certain first.

    The accuracy's axis begins at the largest of `FLOORS` that is below all of them.
    """
    floor = max(floor for floor in FLOORS if floor <= min((value for _, value in curve), default=0.0))
    places = [_place(share, (value - floor) / (1 - floor)) for share, value in curve]
    line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    parts = [_frame("share answered", "accuracy", floor), f'<path class="line" d="{line}"/>']
    for (share, value), (x, y) in zip(curve, places, strict=True):
        words = f"answering the surest {percent(share)}: {percent(value)} are right"
        parts.append(marked(words, f'<circle class="shared" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'))
    return svg(SQUARE + 2 * EDGE, SQUARE + 2 * EDGE, "Accuracy if the model answers only what it is sure of", parts)


def costs(methods: Sequence[tuple[str, float, float]], about: str) -> str:
    """(method, megabytes from a client, share 0..1): the share against the logarithm of the megabytes."""
    sizes = [log10(max(size, LEAST_MB)) for _, size, _ in methods]
    low = int(min(sizes) // 1)
    high = max(int(-(-max(sizes) // 1)), low + 1)
    wide = 400
    frame = f'<rect class="frame" x="{EDGE}" y="{EDGE}" width="{wide}" height="{SQUARE}"/>'
    parts = [
        frame,
        text(EDGE, EDGE - 10, "%", "start"),
        text(EDGE + wide / 2, SQUARE + 2 * EDGE - 6, "MB from a client", "middle"),
    ]
    parts += [text(EDGE - 6, EDGE + SQUARE * (1 - t / 100) + 4, f"{t}", "end") for t in (0, 25, 50, 75, 100)]
    for power in range(low, high + 1):
        x = EDGE + wide * (power - low) / (high - low)
        parts += [
            f'<path class="axis" d="M{x:.1f} {EDGE}v{SQUARE}"/>',
            text(x, SQUARE + EDGE + 14, f"{10.0**power:g}", "middle"),
        ]
    taken = list[tuple[float, float, float]]()
    for (name, size, value), at in zip(methods, sizes, strict=True):
        x = EDGE + wide * (at - low) / (high - low)
        y = EDGE + SQUARE * (1 - value)
        mark = f'<circle class="shared see" cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
        mark += _name(name, x, y, EDGE + wide, taken)
        parts.append(marked(f"{name}: {percent(value)} at {size:.3g} MB from a client", mark))
    return svg(wide + 2 * EDGE, SQUARE + 2 * EDGE, about, parts)


def _name(name: str, x: float, y: float, right: float, taken: list[tuple[float, float, float]]) -> str:
    """The name beside a point, further down where another one of those `taken` (left, right, height) is in the way."""
    words = shortened(name, 24)
    wide = LETTER * len(words)
    left = x + 9 if x + 9 + wide <= right else x - 9 - wide
    height = y + 4
    while any(abs(height - h) < LINE and left < end and begin < left + wide for begin, end, h in taken):
        height += LINE
    taken.append((left, left + wide, height))
    return text(left, height, words)


def _place(x: float, y: float) -> tuple[float, float]:
    return EDGE + SQUARE * x, EDGE + SQUARE * (1 - y)


def _frame(across: str, up: str, floor: float = 0.0) -> str:
    """The frame of a plot of two shares with its ticks; the vertical axis begins at `floor`."""
    parts = [f'<rect class="frame" x="{EDGE}" y="{EDGE}" width="{SQUARE}" height="{SQUARE}"/>']
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _place(tick, tick)
        parts.append(text(x, SQUARE + EDGE + 14, f"{100 * tick:.0f}", "middle"))
        parts.append(text(EDGE - 6, y + 4, f"{100 * (floor + tick * (1 - floor)):.0f}", "end"))
    parts.append(text(EDGE + SQUARE / 2, SQUARE + 2 * EDGE - 6, f"{across}, %", "middle"))
    parts.append(text(EDGE, EDGE - 10, f"{up}, %"))
    return "".join(parts)
