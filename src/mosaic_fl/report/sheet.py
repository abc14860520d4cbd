"""The sheet on which every picture is drawn: its palette, sizes, text and file.

Positions are in inches from the top left corner. A file appears only when it is complete.
"""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_fl.extras import available, require
from mosaic_fl.storage.files import write_atomic

if TYPE_CHECKING:  # matplotlib takes half a second to import: only drawing imports it
    from matplotlib.axes import Axes

# Blue and vermilion of Okabe and Ito's palette (2008): distinct for every kind of colour vision.
BLUE = "#0072b2"
VERMILION = "#d55e00"
INK = "#1f2a35"
MUTED = "#6b7884"
FAINT = "#eef1f4"
PALE = "#c3d2de"
MIDDLE = "#86a5bc"
SEQUENCE = ("#dceaf5", "#7fb5da", BLUE, "#023a63")  # few to many

DPI = 160
POINT = 1 / 72  # inch
CHARACTER = 0.6  # mean width of a character, in font sizes
# points: text below SMALLEST is left out, text below LEGIBLE is turned
SMALLEST = 5.0
LEGIBLE = 7.0
LARGEST = 9.0
DRAWING = "drawing pictures"
# inches: around a sheet, and above the drawing
MARGIN = 0.25
HEAD = 0.85


def can_draw() -> bool:
    """Whether matplotlib is installed; if not, a note says so."""
    return available(DRAWING, "matplotlib")


def require_drawing() -> None:
    """Raise UsageError if matplotlib is not installed."""
    require(DRAWING, "matplotlib")


def blank_sheet(width: float, height: float, title: str, about: str) -> "Axes":
    """An empty sheet of `width` × `height` inches with a heading; its axes count inches from the top left."""
    from matplotlib.figure import Figure

    min_width = 2 * MARGIN + CHARACTER * POINT * max(13 * len(title), LARGEST * len(about))
    width = snap(max(width, min_width))
    height = snap(height)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    write(axes, MARGIN, MARGIN + 0.08, title, 13, INK, weight="bold")
    write(axes, MARGIN, MARGIN + 0.31, about, LARGEST, MUTED)
    return axes


def write(axes: "Axes", x: float, y: float, text: str, size: float, colour: str, **style: Any) -> None:
    """Write text at (x, y), vertically centred unless `style` says otherwise. A dollar sign has no special meaning."""
    axes.text(x, y, text, **({"va": "center_baseline"} | style), fontsize=size, color=colour, parse_math=False)


def save(axes: "Axes", path: Path) -> None:
    """Write the sheet to `path`, completely or not at all; raises MosaicError."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_atomic(path, picture.getvalue())


def snap(inches: float) -> float:
    """Rounded up to whole pixels, so that samples stay sharp."""
    return math.ceil(inches * DPI - 1e-6) / DPI
