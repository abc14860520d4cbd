"""Pictures of a run: the split, generated samples, accuracies. One look, no global state, atomic files."""

import io
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.report.tables import CEILING, GLOBAL_MODEL, NONE, percent, shorten

if TYPE_CHECKING:  # matplotlib takes half a second to import: only who draws pays for it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and vermilion of Okabe and Ito's palette (2008), which every kind of colour vision tells apart.
INK, MUTED, FAINT = "#1f2a35", "#75828f", "#eef1f4"
BLUE, VERMILION, PALE = "#0072b2", "#d55e00", "#b4c6d4"
SEQUENCE = ("#dceaf5", "#7fb5da", BLUE, "#023a63")

DPI = 160
POINT = 1 / 72  # inch
CHARACTER = 0.6  # mean width of a character, in font sizes
MARGIN = 0.25  # inch
SMALLEST = 5.0  # points: smaller text is left out
MAX_SHOWN = 100  # clients and classes in a picture of samples; the rest is counted
MAX_NAME = 18  # characters of a class name
MAX_BARS = 16  # more clients than this share one row of dots


def split_picture(counts: Tensor, names: Sequence[str], path: Path) -> None:
    """Write a PNG of who holds what: a tile for each client and class, and each client's samples as a bar.

    `counts` is int (clients, classes), `names` one name a class. A tile's colour grows with the square root
    of its count; the count stands in it where it fits. Raises OSError where `path` cannot be written.
    """
    from matplotlib.colors import LinearSegmentedColormap

    clients, classes = counts.shape
    largest = max(int(counts.max()), 1)
    cell_w, cell_h = _clip(9 / classes, 0.17, 0.6), _clip(7 / clients, 0.17, 0.42)
    wide, tall = min(cell_w * classes, 18.0), min(cell_h * clients, 18.0)
    cell_w, cell_h = wide / classes, tall / clients

    labels = [shorten(name, MAX_NAME) for name in names]
    longest = max(len(label) for label in labels)
    size = _clip(cell_w / POINT * 0.7, SMALLEST, 9)
    upright = longest * CHARACTER * size * POINT > cell_w * 0.95
    below = 0.2 + (longest * CHARACTER * size if upright else size) * POINT
    left, bars, top = 0.95, 1.5, 0.8
    figure = _figure(max(left + wide + bars + MARGIN, 4.2), top + tall + below + MARGIN)
    box = (left, below + MARGIN, wide, tall)
    axes = _axes(figure, box)

    shades = LinearSegmentedColormap.from_list("counts", SEQUENCE)((counts / largest).sqrt().numpy())
    shades[(counts == 0).numpy()] = (*(int(FAINT[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1)
    axes.imshow(shades, aspect="auto", interpolation="nearest", extent=(0, classes, clients, 0))
    if min(cell_w, cell_h) >= 0.1:
        gap = min(1.2, min(cell_w, cell_h) * 5)
        axes.vlines(range(1, classes), 0, clients, colors="white", linewidth=gap)
        axes.hlines(range(1, clients), 0, classes, colors="white", linewidth=gap)

    digits = len(str(largest))
    number = min(8.5, cell_w / POINT * 0.84 / (digits * CHARACTER), cell_h / POINT * 0.62)
    if number >= SMALLEST:
        for k, c in counts.nonzero().tolist():
            n = int(counts[k, c])
            colour = "white" if math.sqrt(n / largest) > 0.5 else INK
            _text(axes, c + 0.5, k + 0.52, str(n), number, colour, ha="center", va="center")

    _class_labels(axes, labels, size, upright, cell_w)
    height = _clip(cell_h / POINT * 0.7, SMALLEST, 9)
    for k in _spread(clients, height * 1.1 * POINT, cell_h):
        _text(axes, -0.08 / cell_w, k + 0.52, f"client {k}", height, INK, ha="right", va="center")

    totals = counts.sum(1)
    side = _axes(figure, (left + wide + 0.15, below + MARGIN, 0.75, tall))
    side.barh([k + 0.5 for k in range(clients)], totals.tolist(), height=0.62, color=PALE)
    side.set(xlim=(0, max(int(totals.max()), 1)), ylim=(clients, 0))
    for k in _spread(clients, height * 1.1 * POINT, cell_h):
        reach = int(totals[k]) + 0.06 / 0.75 * max(int(totals.max()), 1)
        _text(side, reach, k + 0.52, f"{int(totals[k]):,}", height * 0.92, MUTED, va="center")
    about = f"{int(totals.sum()):,} samples · {clients} client{'s' * (clients != 1)} · {classes} classes"
    _title(figure, "Who holds what", about)
    _save(figure, path)


def samples_picture(
    samples: Sequence[tuple[str, Tensor | None]], held: Tensor, names: Sequence[str], path: Path
) -> None:
    """Write a PNG of generated samples: a row of blocks for each client, a block for each class.

    `samples` holds for each client its label and uint8 (classes, m, channels, h, w), or None where the client
    sent no generator; `held` is bool (clients, classes) (class counts do too): blocks of classes that a
    client lacks stay blank, whatever the tensor holds there. One channel is grey, three are RGB, of any
    other number the mean is shown. Raises OSError where `path` cannot be written.
    """
    clients, classes = min(len(samples), MAX_SHOWN), min(len(names), MAX_SHOWN)
    drawn = max((block.shape[1] for _, block in samples if block is not None), default=1)
    across = next(a for a in range(max(math.isqrt(drawn), 1), drawn + 1) if drawn % a == 0 and a * a >= drawn)
    down = drawn // across
    side = int(_clip(2400 // max(classes * across, clients * down), 16, 40))
    gap = 10 if classes <= 20 else 4
    block_w, block_h = across * (side + 1) - 1, down * (side + 1) - 1
    step_w, step_h = block_w + gap, block_h + gap

    canvas = torch.full((clients * step_h - gap, classes * step_w - gap, 3), 255, dtype=torch.uint8)
    blank = torch.tensor([int(FAINT[i : i + 2], 16) for i in (1, 3, 5)], dtype=torch.uint8)
    missing: list[int] = []
    for k, (_, block) in enumerate(samples[:clients]):
        row = canvas[k * step_h : k * step_h + block_h]
        if block is None:
            row[:] = blank
            missing.append(k)
            continue
        for c in range(classes):
            area = row[:, c * step_w : c * step_w + block_w]
            if not held[k, c]:
                area[:] = blank
                continue
            for i, tile in enumerate(_tiles(block[c], side)):
                y, x = i // across * (side + 1), i % across * (side + 1)
                area[y : y + side, x : x + side] = tile

    labels = [shorten(name, MAX_NAME) for name in names[:classes]]
    rows = [shorten(label, 28) for label, _ in samples[:clients]]
    size = _clip(block_w / DPI / POINT * 0.6, SMALLEST, 9)
    height = _clip(step_h / DPI / POINT * 0.7, SMALLEST, 8)
    longest = max(len(label) for label in labels)
    upright = longest * CHARACTER * size * POINT > step_w / DPI
    below = 0.15 + (longest * CHARACTER * size if upright else size) * POINT
    left = 0.3 + max(len(row) for row in rows) * CHARACTER * height * POINT
    wide, tall = canvas.shape[1] / DPI, canvas.shape[0] / DPI
    figure = _figure(max(left + wide + MARGIN, 4.2), 0.75 + tall + below + MARGIN)
    axes = _axes(figure, (left, below + MARGIN, wide, tall))
    axes.imshow(canvas.numpy(), aspect="auto", interpolation="nearest", extent=(0, wide, tall, 0))
    centre = block_h / 2 / DPI
    for k in _spread(clients, height * 1.1 * POINT, step_h / DPI):
        _text(axes, -0.1, k * step_h / DPI + centre, rows[k], height, INK, ha="right", va="center")
    for k in missing:
        y = k * step_h / DPI + centre
        _text(axes, wide / 2, y, "no generator", height, MUTED, ha="center", va="center", style="italic")
    for c in _spread(classes, size * 1.2 * POINT, step_w / DPI):
        x = (c * step_w + block_w / 2) / DPI
        turn = {"rotation": 90} if upright else {}
        _text(axes, x, tall + 0.07, labels[c], size, INK, ha="center", va="top", **turn)
    hidden = [f"{n - shown} more {what}" for n, shown, what in
              ((len(samples), clients, "clients"), (len(names), classes, "classes")) if n > shown]
    about = "; ".join(["grey: a class that the client does not hold", *hidden])
    _title(figure, "What the generators draw", about)
    _save(figure, path)


def accuracy_picture(rows: Sequence[tuple[str, float | None]], path: Path) -> None:
    """Write a PNG of test accuracies as horizontal bars, the global model emphasised, the ceiling a line.

    `rows` are as `tables.rows` gives them: labels and fractions 0..1, None where nothing was measured. More
    than 16 clients share one row, a dot each. Raises OSError where `path` cannot be written.
    """
    ceiling = next((value for label, value in rows if CEILING in label), None)
    own = [value for label, value in rows if label.startswith("client ")]
    bars = [(label, value) for label, value in rows if CEILING not in label]
    dots = [value for value in own if value is not None] if len(own) > MAX_BARS else []
    if dots:
        shared = [row for row in bars if not row[0].startswith("client ")]
        bars = [(f"{len(own)} clients' own models", sum(dots) / len(dots)), *shared]

    pitch, left, wide, column = 0.3, 2.75, 4.2, 0.7
    figure = _figure(left + wide + column + MARGIN, 0.8 + pitch * len(bars) + 0.55)
    axes = _axes(figure, (left, 0.55, wide, pitch * len(bars)))
    axes.set(xlim=(0, 1), ylim=(len(bars) - 0.5, -0.5))
    axes.vlines([0, 0.25, 0.5, 0.75, 1], -0.5, len(bars) - 0.5, colors=FAINT, linewidth=1, zorder=0)
    for tick in (0, 25, 50, 75, 100):
        _text(axes, tick / 100, len(bars) - 0.3, f"{tick} %", 8, MUTED, ha="center", va="top")
    for y, (label, value) in enumerate(bars):
        ours = GLOBAL_MODEL in label
        client = label.startswith("client ")
        colour = BLUE if ours else PALE if client else "#7d9db5"
        name, weight = shorten(label.split(" (")[0], 38), {"weight": "bold"} if ours else {}
        _text(axes, -0.025, y, name, 9, INK, ha="right", va="center", **weight)
        mean = "mean " if dots and y == 0 else ""
        _text(axes, 1 + column / wide, y, mean + percent(value), 9, BLUE if ours else INK if value is not None
              else MUTED, ha="right", va="center", **weight)
        if mean:
            axes.plot(dots, [y] * len(dots), "o", color=BLUE, alpha=0.35, markersize=5, markeredgewidth=0)
            axes.vlines(value or 0, y - 0.34, y + 0.34, colors=INK, linewidth=1.5)
        elif value is not None:
            axes.barh(y, value, height=0.66, color=colour)
    if ceiling is not None:
        axes.vlines(ceiling, -0.5, len(bars) - 0.5, colors=VERMILION, linewidth=1.4, linestyles=(0, (4, 2)))
        text = f"pooled data, {CEILING}: {percent(ceiling)}"
        _text(axes, min(ceiling + 0.01, 1 + column / wide), -0.6, text, 8, VERMILION, ha="right", va="bottom")
    _title(figure, "Test accuracy", "")
    _save(figure, path)
