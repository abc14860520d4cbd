"""The pictures of a run: the split, generated samples and accuracies.

A picture is one sheet with positions in inches from its top left corner, so that its parts have the same size
for 2 classes and for 100.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.report.sheet import (
    BLUE,
    CHARACTER,
    DPI,
    FAINT,
    HEAD,
    INK,
    LARGEST,
    LEGIBLE,
    MARGIN,
    MIDDLE,
    MUTED,
    PALE,
    POINT,
    SEQUENCE,
    SMALLEST,
    VERMILION,
    blank_sheet,
    save,
    snap,
    write,
)
from mosaic_fl.report.tables import CEILING, percent, serves, shorten

if TYPE_CHECKING:  # matplotlib takes half a second to import: only drawing imports it
    from matplotlib.axes import Axes

# inches: the smallest cell with text, and the side of the largest grid
TIGHT = 0.17
MAX_SIDE = 18.0
MAX_NAME = 20  # characters of a label
MAX_BLOCKS = 100  # clients, and classes, in a picture of samples; a line counts the others
MAX_BARS = 16  # bars of clients; more clients share one row of dots


def split_picture(counts: Tensor, names: Sequence[str], path: Path) -> None:
    """Write a PNG of the data at each client: a tile for each client and class, a bar for each client's samples.

    `counts` is int (clients, classes), `names` one name a class. A tile's colour grows with the square root
    of its count, which is written in the tile if it fits. Raises MosaicError if `path` cannot be written.
    """
    clients, classes = counts.shape
    totals = counts.sum(1).tolist()
    cell_w = _pitch(classes, 8, 0.7)
    cell_h = _pitch(clients, 7, 0.4)
    rows = _Labels([f"client {k}" for k in range(clients)], cell_h)
    columns = _Labels(names, cell_w)
    left = MARGIN + rows.length + 0.1
    bottom = HEAD + cell_h * clients
    right = left + cell_w * classes
    bars = 0.7
    size = (right + 0.15 + bars + 0.75, bottom + columns.depth + MARGIN)
    about = f"{sum(totals):,} training samples, {clients} client{'s' * (clients != 1)}, {classes} classes"
    axes = blank_sheet(*size, "Who holds what", about)
    _draw_counts(axes, counts, (left, right, bottom, HEAD))
    rows.draw_left(axes, left - 0.08, HEAD + cell_h / 2)
    columns.draw_below(axes, left + cell_w / 2, bottom + 0.07)

    start = right + 0.15
    inch = bars / max(*totals, 1)
    middles = [HEAD + (k + 0.5) * cell_h for k in range(clients)]
    axes.barh(middles, [n * inch for n in totals], height=0.62 * cell_h, left=start, color=PALE)
    for k in rows.drawable:
        write(axes, start + totals[k] * inch + 0.06, middles[k], f"{totals[k]:,}", rows.size, MUTED)
    save(axes, path)


def _draw_counts(axes: "Axes", counts: Tensor, frame: tuple[float, float, float, float]) -> None:
    """A tile for each of `counts` (clients, classes) in `frame`: left, right, bottom, top in inches."""
    from matplotlib.colors import LinearSegmentedColormap

    left, right, bottom, top = frame
    clients, classes = counts.shape
    cell_w = (right - left) / classes
    cell_h = (bottom - top) / clients
    shades = LinearSegmentedColormap.from_list("counts", SEQUENCE).with_extremes(under=FAINT)
    depth = (counts / counts.max().clamp(min=1)).sqrt()
    axes.imshow(depth.numpy(), shades, vmin=1e-9, vmax=1, extent=frame, aspect="auto", interpolation="nearest")
    gap = min(5 * min(cell_w, cell_h), 1.2)
    axes.vlines([left + c * cell_w for c in range(1, classes)], top, bottom, colors="white", linewidth=gap)
    axes.hlines([top + k * cell_h for k in range(1, clients)], left, right, colors="white", linewidth=gap)

    digits = len(str(int(counts.max())))
    size = min(8.5, 0.84 * cell_w / POINT / CHARACTER / digits, 0.62 * cell_h / POINT)
    for k, c in counts.nonzero().tolist() if size >= SMALLEST else []:
        x = left + (c + 0.5) * cell_w
        y = top + (k + 0.52) * cell_h
        colour = "white" if depth[k, c] > 0.5 else INK
        write(axes, x, y, str(int(counts[k, c])), size, colour, ha="center")


def samples_picture(
    samples: Sequence[tuple[str, Tensor | None]],
    class_presence: Tensor,
    names: Sequence[str],
    path: Path,
    title: str = "What the generators draw",
    remark: str = "grey: a class the client does not hold",
) -> None:
    """Write a PNG of generated samples: a row of blocks for each client, a block for each class.

    `samples` holds for each client its label and its samples, uint8 (classes, m, channels, h, w), or None
    if the client sent no generator; m, h and w are the same for all. `class_presence` is bool (clients, classes),
    or class counts: the block of a class that the client does not have stays blank, whatever its samples are.
    One channel is grey, three are red, green and blue; for any other number the mean is drawn.
    Raises MosaicError if `path` cannot be written.
    """
    clients = min(len(samples), MAX_BLOCKS)
    classes = min(len(names), MAX_BLOCKS)
    tile_count = max((block.shape[1] for _, block in samples if block is not None), default=1)
    across = next(n for n in range(1, tile_count + 1) if tile_count % n == 0 and n * n >= tile_count)
    down = tile_count // across
    side = int(_clip(2400 // max(classes * across, clients * down), 16, 40))
    gap = 10 if classes <= 20 else 4
    block_w = across * (side + 1) - 1
    block_h = down * (side + 1) - 1
    step_w = block_w + gap
    step_h = block_h + gap

    canvas = torch.full((clients * step_h - gap, classes * step_w - gap, 3), 255, dtype=torch.uint8)
    for k, (_, block) in enumerate(samples[:clients]):
        for c in range(classes):
            area = canvas[k * step_h :, c * step_w :][:block_h, :block_w]
            area[:] = torch.tensor(list(bytes.fromhex(FAINT[1:])), dtype=torch.uint8)
            tiles = _tiles(block[c], side) if block is not None and class_presence[k, c] else ()
            for i, tile in enumerate(tiles):
                area[i // across * (side + 1) :, i % across * (side + 1) :][:side, :side] = tile

    rows = _Labels([label for label, _ in samples[:clients]], step_h / DPI)
    columns = _Labels(names[:classes], step_w / DPI)
    left = snap(MARGIN + rows.length + 0.1)
    tall = canvas.shape[0] / DPI
    wide = canvas.shape[1] / DPI
    hidden = [(len(samples) - clients, "clients"), (len(names) - classes, "classes")]
    about = "; ".join([remark, *(f"{n} more {w}" for n, w in hidden if n)])
    size = (left + wide + MARGIN, HEAD + tall + columns.depth + MARGIN)
    axes = blank_sheet(*size, title, about)
    frame = (left, left + wide, HEAD + tall, HEAD)
    axes.imshow(canvas.numpy(), extent=frame, aspect="auto", interpolation="nearest")
    rows.draw_left(axes, left - 0.08, HEAD + block_h / 2 / DPI)
    columns.draw_below(axes, left + block_w / 2 / DPI, HEAD + tall + 0.07)
    for k, (_, block) in enumerate(samples[:clients]):
        if block is None:
            middle = HEAD + (k * step_h + block_h / 2) / DPI
            write(axes, left + wide / 2, middle, "no generator", rows.size, MUTED, ha="center")
    save(axes, path)


def accuracy_picture(rows: Sequence[tuple[str, float | None]], path: Path) -> None:
    """Write a PNG of test accuracies as horizontal bars; the model in service is emphasised, the ceiling is a line.

    `rows` come from `tables.rows`: labels and fractions 0..1, None without a measurement. More than 16 clients
    share one row, with a dot for each and a line at their mean. Raises MosaicError if `path` cannot be written.
    """
    ceiling = next((value for label, value in rows if CEILING in label), None)
    own = [value for label, value in rows if label.startswith("client ")]
    bars = [row for row in rows if CEILING not in row[0]]
    dots = [value for value in own if value is not None] if len(own) > MAX_BARS else []
    if dots:
        bars = [(f"{len(dots)} clients, mean", sum(dots) / len(dots)), *bars[len(own) :]]

    pitch = 0.3
    left = 2.6
    wide = 4.2
    figures = 0.75
    bottom = HEAD + 0.1 + pitch * len(bars)
    axes = blank_sheet(
        left + wide + figures + MARGIN,
        bottom + 0.3 + MARGIN,
        "Test accuracy",
        "share of the test samples classified correctly",
    )
    for tick in (0, 25, 50, 75, 100):
        x = left + wide * tick / 100
        axes.vlines(x, HEAD, bottom, colors=FAINT, linewidth=1, zorder=0)
        write(axes, x, bottom + 0.15, f"{tick} %", 8, MUTED, ha="center")
    for place, (label, value) in enumerate(bars):
        y = HEAD + 0.05 + pitch * (place + 0.5)
        in_service = serves(label)
        weight, colour = ("bold", BLUE) if in_service else ("normal", INK)
        name = shorten(label.partition(" (")[0], 32)
        write(axes, left - 0.1, y, name, LARGEST, INK, ha="right", weight=weight)
        write(axes, left + wide + figures, y, percent(value), LARGEST, colour, ha="right", weight=weight)
        if dots and place == 0:
            places = [left + wide * v for v in dots]
            axes.plot(places, [y] * len(dots), "o", color=MIDDLE, alpha=0.5, ms=5, mew=0)
            axes.vlines(left + wide * (value or 0), y - 0.1, y + 0.1, colors=INK, linewidth=1.6)
        elif value is not None:
            colour = BLUE if in_service else PALE if label.startswith("client ") else MIDDLE
            axes.barh(y, wide * value, height=0.66 * pitch, left=left, color=colour)
    if ceiling is not None:
        x = left + wide * ceiling
        axes.vlines(x, HEAD - 0.05, bottom, colors=VERMILION, linewidth=1.4, linestyles=(0, (4, 2)))
        write(axes, x, HEAD - 0.13, f"pooled data: {percent(ceiling)}", 8, VERMILION, ha="center")
    save(axes, path)


@dataclass(frozen=True)
class _Labels:
    """Names along a side of a grid, `pitch` inches apart. In a narrow grid they are small, or some are left out."""

    names: Sequence[str]
    pitch: float

    @property
    def texts(self) -> list[str]:
        return [shorten(name, MAX_NAME) for name in self.names]

    @property
    def longest(self) -> float:
        """Inches of the longest name at a size of one point."""
        return max(map(len, self.texts)) * CHARACTER * POINT

    @property
    def level(self) -> float:
        """The size in points at which the names fit side by side, each within its cell."""
        return min(0.95 * self.pitch / self.longest, LARGEST)

    @property
    def upright(self) -> bool:
        """Whether that size is illegible, so that the names are turned by 90°."""
        return self.level < LEGIBLE

    @property
    def size(self) -> float:
        """The size in points of names one below the other, or turned."""
        return _clip(0.7 * self.pitch / POINT, SMALLEST, LARGEST)

    @property
    def length(self) -> float:
        """Inches of the names at the left of a grid."""
        return self.longest * self.size

    @property
    def depth(self) -> float:
        """Inches of the names below a grid."""
        return 0.1 + (self.length if self.upright else 1.2 * self.level * POINT)

    @property
    def drawable(self) -> range:
        """The indices of the names that there is space for, one below the other or turned."""
        return range(0, len(self.names), math.ceil(1.15 * self.size * POINT / self.pitch))

    def draw_left(self, axes: "Axes", x: float, y: float) -> None:
        """Draw the names one below the other, right-aligned at `x`, the first one at height `y`."""
        texts = self.texts
        for i in self.drawable:
            write(axes, x, y + i * self.pitch, texts[i], self.size, INK, ha="right")

    def draw_below(self, axes: "Axes", x: float, y: float) -> None:
        """Draw the names side by side below `y`, the first one centred at `x`."""
        texts = self.texts
        size = self.level
        turn = 0
        indices = range(len(self.names))
        if self.upright:
            size = self.size
            turn = 90
            indices = self.drawable
        for i in indices:
            write(axes, x + i * self.pitch, y, texts[i], size, INK, ha="center", va="top", rotation=turn)


def _tiles(images: Tensor, side: int) -> Tensor:
    """uint8 (m, channels, h, w) -> uint8 (m, side, side, 3), enlarged without blur."""
    pixels = images.to("cpu", torch.float32)
    if pixels.shape[1] != 3:
        pixels = pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    mode = "nearest-exact" if max(pixels.shape[2:]) <= side else "area"
    return F.interpolate(pixels, (side, side), mode=mode).round_().to(torch.uint8).permute(0, 2, 3, 1)


def _pitch(cells: int, side: float, largest: float) -> float:
    """Inches of a cell: the grid has this `side` if its cells then have space for text, and `largest` at most."""
    return min(_clip(side / cells, TIGHT, largest), MAX_SIDE / cells)


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
