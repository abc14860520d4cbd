"""The page about a run: its figures by hand, what it says where something is absent, and that it runs in a browser."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from command import QUICK, fails, mosaic
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.report.page.charts import bars, differences, heat_map
from mosaic_fl.report.page.facts import Facts, Score, read_facts
from mosaic_fl.report.page.page import page
from mosaic_fl.runs.detail import detail

EVIL = '<script>alert("x")</script>'


def test_wilson_by_hand() -> None:
    """Of 9 right of 10: centre (0.9 + 0.1921) / 1.3841 = 0.789, reach 1.96 / 1.3841 · √(0.009 + 0.0096) = 0.1933."""
    assert wilson(0.9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_detail_by_hand() -> None:
    """Four samples of two classes: sure and right, sure and wrong, less sure and right, twice."""
    logits = torch.tensor([[0.95, 0.05], [0.85, 0.15], [0.25, 0.75], [0.35, 0.65]]).log()
    labels = torch.tensor([0, 1, 1, 1])
    told = detail(logits, labels, ("a", "b"), teacher=logits.flip(1), local=torch.tensor([[0], [1], [-1], [1]]))
    assert told["confusion"] == [[1, 0], [1, 2]]
    assert [row[0] for row in told["calibration"]] == [1, 1, 1, 1]
    assert told["calibration_error"] == pytest.approx((0.05 + 0.85 + 0.25 + 0.35) / 4)
    assert told["abstain"] == [[0.25, 1.0], [0.5, 0.5], [0.75, pytest.approx(2 / 3)], [1.0, 0.75]]
    assert told["recall_by_model"] == {"teacher": [0.0, pytest.approx(1 / 3)], "local": [[1.0, pytest.approx(2 / 3)]]}


def test_detail_of_nothing_and_of_many_classes() -> None:
    nothing = detail(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), ("a", "b"))
    assert nothing == {"samples": 0, "classes": ["a", "b"]}
    many = detail(torch.zeros(3, 101), torch.arange(3), [str(c) for c in range(101)])
    assert "confusion" not in many
    assert len(many["classes"]) == 101


def test_drawings_are_whole_and_say_each_figure() -> None:
    drawn = bars([Score(EVIL, 0.5, 0.4, 0.6), Score("client 0", 0.25, 0.2, 0.3, own=True)])
    drawn += differences(["a", "b", "c"], [3.0, -1.5, None], "gains") + heat_map(
        [("a", [0.5, None])], ["x", "y"], "recall"
    )
    for part in re.findall(r"<svg.*?</svg>", drawn):
        ElementTree.fromstring(part)  # noqa: S314  what was drawn here
    assert "<script" not in drawn
    for words in ("50.0 % (40.0 % to 60.0 %)", "+3.0 points", "-1.5 points", "not known", "a, x: 50.0 %"):
        assert words in drawn


def facts(**result: object) -> Facts:
    return Facts("run", {"method": "mosaic", "models": ["cnn:4"], "seconds": {"total": 3.0}, **result}, "", {}, {})


def test_what_was_not_measured_is_left_out_and_nothing_is_taken_for_html() -> None:
    bare = page([facts()])
    assert "no samples that nobody trained on" in bare
    for heading in ("How good the models are", "What each site gains", "May its certainty"):
        assert heading not in bare
    evil = page([facts(models=[EVIL], accuracy=0.5, detail={"samples": 10, "classes": [EVIL]}, recall=[0.5])])
    assert EVIL not in evil
    assert "23.7 % to 76.3 %" in evil


def test_reasons_are_on_the_page() -> None:
    row = {"client": 0, "state": "quarantined", "reasons": ["its model contradicts all others"]}
    shown = page([facts(choice={"trust": {"clients": [row]}}, left_out=[{"client": 1, "reason": "no answer"}])])
    assert "client 0 is quarantined: its model contradicts all others" in shown
    assert "client 1, reason no answer" in shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "run"
    mosaic("run", "--data", "digits", "--workers", "1", *QUICK, "--out", out, cwd=out.parent)
    return out


def test_a_run_ends_in_its_page(folder: Path) -> None:
    written = (folder / "report.html").read_text()
    result = json.loads((folder / "result.json").read_text())
    assert sum(map(sum, result["detail"]["confusion"])) == result["detail"]["samples"] == 355
    assert f"{100 * result['accuracy']:.1f} %" in written
    assert len(written) < 3e6
    assert not re.search(r"(src|href)=.?(https?:|//)", written)  # nothing is loaded
    for part in re.findall(r"<svg.*?</svg>", written, re.DOTALL):
        ElementTree.fromstring(part)  # noqa: S314  what was drawn here
    assert written.count("<img") == 2


def test_the_command_writes_it_again_and_side_by_side(folder: Path, tmp_path: Path) -> None:
    first = (folder / "report.html").read_bytes()
    mosaic("report", folder, cwd=folder)
    assert (folder / "report.html").read_bytes() == first
    mosaic("report", str(folder), str(folder), "--out", "two.html", cwd=tmp_path)
    assert "Side by side" in (tmp_path / "two.html").read_text()


def test_wrong_folders_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "name the folder of a run that has ended" in fails(capsys, "report", str(tmp_path))
    assert "exists: add --force" in fails(capsys, "report", str(folder), "--out", str(folder / "report.html"))
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        read_facts(tmp_path)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_it_runs_in_a_browser_without_an_error(folder: Path, tmp_path: Path, width: int) -> None:
    """The script has run where marks after the first of a drawing are no stops of the tabulator any more."""
    words = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    words += [f"--window-size={width},900", "--enable-logging=stderr", (folder / "report.html").as_uri()]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert 'tabindex="-1"' in shown.stdout
    assert "CONSOLE" not in shown.stderr
