"""A page in headless Chromium: no error, every picture is shown, a walk by keyboard, and what axe-core says of it."""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from chromium import MISSING, Browser, axe
from mosaic_fl.report.page.grid_facts import read_grid
from mosaic_fl.report.page.page import page
from page_facts import crowd, facts, grid_folder

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(MISSING), reason=MISSING)]
SERIOUS = """axe.run().then(r => r.violations.filter(v => ["serious", "critical"].includes(v.impact))
  .map(v => [v.id, v.nodes.map(n => n.html.slice(0, 150))]))"""
FIRST = """(() => { const mark = document.querySelector(".mark");
  mark.scrollIntoView({block: "center", behavior: "instant"});
  const box = mark.firstChild.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2]; })()"""
TIP = "document.getElementById('tip').textContent"
FOCUS = "document.activeElement.getAttribute('aria-label')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page about a comparison and two runs. One has pictures of a generator, rows of another, and none of a third."""
    out = io.BytesIO()
    Image.new("L", (74, 17)).save(out, "PNG")
    picture = {
        "picture": "data:image/png;base64," + base64.b64encode(out.getvalue()).decode(),
        "width": 74,
        "height": 17,
    }
    rows = {"columns": ["age"], "rows": [["ill", "71"]]}
    samples = [{"client": 0, "classes": ["a"], **picture}, {"client": 1, **rows}, {"client": 2, "reason": "none sent"}]
    one = replace(crowd(3, 4), generated={"clients": samples, "more": 1}, configuration="[run]", hashes={"torch": "2"})
    place = tmp_path_factory.mktemp("page") / "report.html"
    bare = facts("bare", accuracy=0.5, detail={"samples": 9, "classes": ["a"]}, recall=[0.5])
    grid = read_grid(grid_folder(tmp_path_factory.mktemp("grid")))
    place.write_text(page([one, bare], [grid]))
    return place


@pytest.mark.parametrize("width", [1280, 390])
def test_no_error_and_every_picture_is_shown(browser: Browser, shown: Path, width: int) -> None:
    browser.open(shown, width)
    pictures = browser.run(
        "[...document.images].map(p => [p.complete, p.naturalWidth, p.getBoundingClientRect().width])"
    )
    assert pictures == [[True, 74, pytest.approx(296, abs=80)]]
    drawings = browser.run("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)")
    assert len(drawings) > 10
    assert min(drawings) > 20
    assert browser.run("document.documentElement.scrollWidth") <= width  # what is wide scrolls by itself
    assert browser.errors == []
    assert [url for url in browser.loads if not url.startswith(("file:", "data:"))] == []


def test_a_walk_by_keyboard(browser: Browser, shown: Path) -> None:
    """Each drawing is one stop. The arrows go from mark to mark, in a heat map by row and column."""
    browser.open(shown, 1280)
    stops = list[str]()
    for _ in range(120):
        browser.press("Tab")
        stops.append(browser.run(FOCUS + " || document.activeElement.tagName"))
        where = browser.run("document.activeElement.closest('svg')?.getAttribute('aria-label')")
        if where == "Training samples of each class at each site of crowd":
            break
    assert stops.count("A") > 8
    assert browser.run(TIP) == stops[-1] == "client 0, class 0: 3 training samples"
    browser.press("ArrowDown")
    assert browser.run(FOCUS) == "client 1, class 0: 3 training samples"
    browser.press("ArrowRight")
    assert browser.run(FOCUS) == "client 1, class 1: 3 training samples"
    browser.press("Escape")
    assert browser.run(TIP) == ""
    browser.press("Tab")
    browser.press("Tab", shift=True)
    assert browser.run(FOCUS) == "client 1, class 1: 3 training samples"  # back to where the reader was


def test_hover_and_print(browser: Browser, shown: Path) -> None:
    browser.open(shown, 1280)
    x, y = browser.run(FIRST)
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert browser.run(TIP).startswith("crowd: 90.0 %")
    pdf = base64.b64decode(browser.ask("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")
    assert browser.run("[...document.querySelectorAll('details')].every(d => d.open)")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(browser: Browser, shown: Path, width: int, dark: bool) -> None:
    script = axe()
    if script is None:
        pytest.skip("axe-core is not in build/axe-core: .ci/run puts it there, by npm")
    browser.open(shown, width, dark=dark)
    browser.run(script.read_text() + ";0")
    assert browser.run(SERIOUS) == []
