"""The page about a comparison: its figures by hand, what is missing and why, and that the command takes its folder."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from command import fails, mosaic
from mosaic_fl.comparison.grid import CENTRALISED
from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.report.page.grid_facts import read_grid
from mosaic_fl.report.page.page import page, page_of
from page_facts import EVIL, crowd, grid_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return grid_folder(tmp_path)


def test_means_and_intervals_by_hand(folder: Path) -> None:
    """Of 90, 94 and 92: mean 92, deviation 2, and 4.303 · 2 / √3 = 4.97 around it (Student's t, 2 degrees).

    A single seed has Wilson's interval, of 99 in 100.
    """
    equal, mixed = read_grid(folder).settings
    scores = {score.name: score for score in equal.scores()}
    ours = scores["mosaic"]
    assert (ours.value, ours.low, ours.high) == pytest.approx((0.92, 0.92 - 0.0497, 0.92 + 0.0497), abs=1e-4)
    assert ours.each == (0.90, 0.94, 0.92)
    assert (scores[CENTRALISED].low, scores[CENTRALISED].high) == pytest.approx(wilson(0.99, 100))
    assert scores[CENTRALISED].own
    assert mixed.scores() == []
    assert equal.costs == [("mosaic", 2.0, pytest.approx(0.92)), ("fedavg", 4.0, pytest.approx(0.81))]
    assert read_grid(folder).methods == ["mosaic", "fedavg", CENTRALISED]


def test_the_page_says_all_and_takes_nothing_for_html(folder: Path) -> None:
    written = page_of([folder])
    for part in re.findall(r"<svg.*?</svg>", written, re.DOTALL):
        ElementTree.fromstring(part)  # noqa: S314  what was drawn here
    assert EVIL not in written
    for words in (
        "Methods compared on digits", "At a glance", "mosaic: 92.0 % (87.0 % to 97.0 %); 3 seeds", "−11.0 ± 1.7",
        "fedavg: needs equal", "fedavg: 81.0 % at 4 MB from a client", "2.13", "ab12", "82.6 % to 94.5 %",
    ):  # fmt: skip
        assert words in written, words


def test_the_command_makes_it_again(folder: Path) -> None:
    words = read_grid(folder).command.split()
    assert words[:2] == ["mosaic", "compare"]
    values = dict(zip(words[2::2], words[3::2], strict=True))
    assert values["--methods"] == "mosaic,fedavg,centralised"
    assert values["--architectures"] == "equal,mixed"
    assert values["--set"] == "data.image_size=8"


def test_the_command_reports_comparisons_and_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mosaic("report", folder, cwd=folder)
    assert "Methods compared on digits" in (folder / "report.html").read_text()
    both = page([crowd(2, 2)], [read_grid(folder)])
    assert "1 run and 1 comparison" in both
    assert both.count("<article") == 2
    (folder / "table.json").unlink()
    assert "no cell has a result yet" in fails(capsys, "report", str(folder))


def test_a_large_comparison_has_a_small_page(folder: Path) -> None:
    grid = read_grid(folder)
    rows = [{**grid.settings[0].rows[0], "method": f"method {k}", "caveat": "c" * 100} for k in range(40)]
    cells = {
        row["method"]: [{**cell, "reason": "r" * 100} for cell in grid.settings[0].cells["mosaic"]] for row in rows
    }
    setting = type(grid.settings[0])("large", rows, cells)
    large = type(grid)("large", "digits", [setting] * 60, {}, {}, "", 0, 7200)
    written = page([], [large])
    assert len(written.encode()) < 3_000_000
    assert "of 60 settings have a part below" in written
