"""The page of `mosaic status --web` in Chromium: what changes is shown, names stay text, axe-core finds nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chromium import MISSING, Browser, axe
from live_page import EVIL, grow, serving
from mosaic_fl.watch import Watch

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(MISSING), reason=MISSING)]
HEADLINE = "document.getElementById('headline').textContent"
TROUBLE = "document.getElementById('trouble').textContent"
SERIOUS = """axe.run().then(r => r.violations.filter(v => ["serious", "critical"].includes(v.impact))
  .map(v => [v.id, v.nodes.map(n => n.html.slice(0, 150))]))"""
LOOK = "document.dispatchEvent(new Event('visibilitychange')), 0"  # as a reader who comes back to the page
UNTIL = """new Promise((done, fail) => { const end = setTimeout(() => fail("never"), 20000);
  const look = () => (%s) ? (clearTimeout(end), done(true)) : setTimeout(look, 50); look(); })"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with grow(tmp_path / "net") as watch:
        yield watch


def test_it_follows_the_run_and_says_when_nobody_answers(browser: Browser, watch: Watch) -> None:
    with serving(watch.folder) as address:
        browser.open(address, 1280)
        browser.run("document.querySelector('.wide').focus()")
        watch.tell("received", 1, stage="contribute", bytes=5)
        assert browser.run(UNTIL % f"{HEADLINE}.includes('2 of 3 answers')")
        assert EVIL in browser.run("document.getElementById('clients').textContent")
        assert browser.run("document.images.length") == 0
        assert browser.run("document.activeElement.className") == "wide"  # the reader stays where he was
        assert browser.run("document.title").startswith("stage contribute: 2 of 3")
        assert browser.errors == []
        assert all(url.startswith((address, "data:")) for url in browser.loads)
    assert browser.run(UNTIL % f"{TROUBLE}.includes('does not answer')")
    browser.errors.clear()  # that nobody answered
    browser.loads.clear()


def test_it_stands_still_by_keyboard(browser: Browser, watch: Watch) -> None:
    with serving(watch.folder) as address:
        browser.open(address, 390)
        browser.press("Tab")
        assert browser.run("document.activeElement.id") == "pause"
        browser.press("Enter")
        assert browser.run("document.activeElement.getAttribute('aria-pressed')") == "true"
        loads = len(browser.loads)
        browser.run(LOOK)
        assert len(browser.loads) == loads
        browser.press("Enter")
        browser.run(LOOK)
        assert browser.run("document.activeElement.getAttribute('aria-pressed')") == "false"
        assert len(browser.loads) > loads


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(browser: Browser, watch: Watch, width: int, dark: bool) -> None:
    script = axe()
    if script is None:
        pytest.skip("axe-core is not in build/axe-core: .ci/run puts it there, by npm")
    with serving(watch.folder) as address:
        browser.open(address, width, dark=dark)
        browser.run(script.read_text() + ";0")
        assert browser.run(SERIOUS) == []
        assert browser.run("document.documentElement.scrollWidth") <= width  # what is wide scrolls by itself
