"""What every drawing of a page is made of: SVG that says what it shows, whose every mark has its figure."""

from collections.abc import Sequence
from html import escape

from mosaic_fl.report.page.words import shortened

WIDTH = 480  # units: narrow, so that letters are still legible where a phone makes it smaller
SCALE = 1.2  # pixels of a unit, at most
ROW = 24
LABEL = 146  # for names on the left
NUMBER = 58  # for figures on the right
LONGEST = 21  # letters of a name on the left


def svg(width: float, height: float, about: str, parts: Sequence[str], columns: int = 1, least: float = 0.0) -> str:
    """A drawing that says what it shows; its marks stand in rows of so many `columns`, for the keyboard's arrows.

    It is never narrower than `least` pixels: a narrow page scrolls it.
    """
    style = f"max-width:{SCALE * width:.0f}px" + (f";min-width:{least:.0f}px" if least else "")
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" style="{style}"'
    return f'<svg role="group" aria-label="{escape(about)}" data-columns="{columns}" {size}>{"".join(parts)}</svg>'


def marked(words: str, mark: str) -> str:
    """A mark that tells `words` under the mouse, to the keyboard, and to a screen reader."""
    return f'<g class="mark" tabindex="0" role="img" aria-label="{escape(words)}">{mark}</g>'


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    """Words at a place."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def label(place: int, name: str) -> str:
    """The name of a row, on the left."""
    return text(LABEL - 8, place * ROW + 16, shortened(name, LONGEST), "end")


def whisker(left: float, right: float, y: float) -> str:
    """An interval."""
    ends = f"M{left:.1f} {y - 4:.1f}v8M{right:.1f} {y - 4:.1f}v8"
    return f'<path class="whisker" d="M{left:.1f} {y:.1f}H{right:.1f}{ends}"/>'
