"""The sheet that every picture is drawn on, measured in inches from its top left corner. Atomic files."""

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_fl.extras import available, require
from mosaic_fl.storage.files import write_atomic

if TYPE_CHECKING:  # matplotlib takes half a second to import: only who draws pays for it
    from matplotlib.axes import Axes

# Blue and vermilion of Okabe and Ito's palette (2008), which every kind of colour vision tells apart.
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
# points: smaller text is left out, or turned to be legible
SMALLEST = 5.0
LEGIBLE = 7.0
LARGEST = 9.0
DRAWING = "drawing pictures"
# inches: around a sheet, and above what is drawn
MARGIN = 0.25
HEAD = 0.85


def can_draw() -> bool:
    """Whether pictures can be drawn here; where not, a note says what is missing."""
    return available(DRAWING, "matplotlib")


def require_drawing() -> None:
    """Raise UsageError where pictures cannot be drawn here."""
    require(DRAWING, "matplotlib")


def blank_sheet(width: float, height: float, title: str, about: str) -> "Axes":
    """An empty sheet of `width` × `height` inches with a heading; its axes count inches from the top left."""
    from matplotlib.figure import Figure

    least = 2 * MARGIN + CHARACTER * POINT * max(13 * len(title), LARGEST * len(about))
    width = snap(max(width, least))
    height = snap(height)
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    write(axes, MARGIN, MARGIN + 0.08, title, 13, INK, weight="bold")
    write(axes, MARGIN, MARGIN + 0.31, about, LARGEST, MUTED)
    return axes


def write(axes: "Axes", x: float, y: float, text: str, size: float, colour: str, **kind: Any) -> None:
    """Text at (x, y), vertically centred unless `kind` says otherwise; a dollar sign is a dollar sign."""
    axes.text(x, y, text, **({"va": "center_baseline"} | kind), fontsize=size, color=colour, parse_math=False)


def save(axes: "Axes", path: Path) -> None:
    """Write the sheet to `path`, whole or not at all; raises MosaicError."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_atomic(path, picture.getvalue())


def snap(inches: float) -> float:
    """Rounded up to whole pixels, so that samples stay sharp."""
    return math.ceil(inches * DPI - 1e-6) / DPI
