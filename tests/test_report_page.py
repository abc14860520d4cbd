"""The page about a run: its figures by hand, what it says where something is absent, and that it runs in a browser."""

import contextlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from command import QUICK, fails, mosaic
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.report.page.charts import Change, Pair, Score, areas, bars, differences, pairs
from mosaic_fl.report.page.maps import counts, gains, heat_map, shares
from mosaic_fl.report.page.page import page, page_of
from mosaic_fl.report.page.plots import abstaining, costs
from mosaic_fl.report.page.reading import read_facts
from mosaic_fl.runs.detail import detail
from page_facts import EVIL, crowd, facts


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
    drawn = bars([Score(EVIL, 0.5, 0.4, 0.6), Score("client 0", 0.25, 0.2, 0.3, own=True)], EVIL)
    drawn += differences([Change("a", 3.0, 1.0, 5.0, ": so"), Change("b", -1.5), Change("c", None)], "gains")
    drawn += pairs([Pair("a", 0.5, 0.75, 8)], "own") + areas([Score("a", 0.6, 0.5, 0.7)], 0.65, "attacks")
    drawn += heat_map(shares([("a", [0.5, None])], ["x", "y"], "no sample"), ["x", "y"], "recall")
    drawn += heat_map(counts([(EVIL, [16, 0])], ["x", EVIL], "samples"), ["x", EVIL], "split")
    drawn += heat_map(gains([("a", [25.0, -50.0])], ["x", "y"]), ["x", "y"], "gains")
    drawn += costs([("a", 0.5, 0.9), ("b", 50.0, 0.9)], "costs")
    for part in re.findall(r"<svg.*?</svg>", drawn):
        ElementTree.fromstring(part)  # noqa: S314  what was drawn here
    assert "<script" not in drawn
    for words in (
        "50.0 % (40.0 % to 60.0 %)", "a: +3.0 points (+1.0 to +5.0): so", "−1.5 points", "c: not known",
        "a: 50.0 % alone, 75.0 % by the shared model, of 8 samples", "a: 0.60 (0.50 to 0.70), limit 0.65",
        "a, x: 50.0 %", "a, y: no sample", "x: 16 samples", "a, y: −50.0 points", "b: 90.0 % at 50 MB from a client",
    ):  # fmt: skip
        assert words in drawn


def test_colours_by_hand() -> None:
    """16 of 16 and 4 of 16 samples have the depths 1 and √¼; gains are shares of the largest change."""
    most, quarter = counts([("a", [16, 4]), ("b", [0, 0])], ["x", "y"], "samples")[0][1]
    assert (most.depth, quarter.depth) == (1.0, 0.5)
    gain, loss = gains([("a", [25.0, -50.0])], ["x", "y"])[0][1]
    assert (gain.depth, gain.kind, loss.depth, loss.kind, loss.figure) == (0.5, "plus", 1.0, "minus", "−50")


def test_the_axis_of_abstaining_begins_at_a_round_number_below_the_curve() -> None:
    for least, ticks in ((0.955, "80 85 90 95 100"), (0.7, "60 70 80 90 100"), (0.1, "0 25 50 75 100")):
        drawn = abstaining([[0.5, 1.0], [1.0, least]])
        shown = re.findall(r'text-anchor="end">(\d+)<', drawn)
        assert " ".join(shown) == ticks


def test_contributed_by_hand() -> None:
    """Of 1,000 answers client 0 mends 120 and spoils 20: 10 points.

    With half a sample more of each kind the mean is 100 / 1002, and 1.96 · √((141 / 1002 − 0.00996) / 1002) around it.
    """
    change = crowd(2, 2).without[0]
    assert change.value == pytest.approx(10.0)
    assert change.low == pytest.approx(9.980 - 2.239, abs=0.01)
    assert change.high == pytest.approx(9.980 + 2.239, abs=0.01)


def test_each_sites_own_data() -> None:
    """A class of its own has 50 or 25 % by the shared model and 75 % by the site's; groups are of no one class."""
    run = crowd(2, 3)
    assert run.home_gains[0] == Change("client 0", 3.0, -1.0, 7.0, ", of 27 samples")
    assert run.home_by_class[1] == ("client 1", [-25.0, -25.0, -50.0])
    group = [{"classes": [0, 2], "samples": 9, "recall": 0.5}, {"classes": [1], "samples": 9, "recall": 0.5}]
    model = {"model": "global", "digest": "", "accuracy": 0.5, "low": 0.4, "high": 0.6, "recall": group}
    models = [{**model, "gain": {"points": 0.0, "low": -1.0, "high": 1.0}}, {**model, "model": "own", "gain": None}]
    silent = {"client": 1, "samples": None, "least": None, "why": "it did not answer", "models": []}
    table = {"sites": [{"client": 0, "samples": 18, "least": 5, "why": None, "models": models}, silent]}
    one = facts(cross_site=table, detail={"classes": ["a", "b", "c"]})
    assert one.home_by_class == [("client 0", [None, 0.0, None])]
    assert "client 1 on its own data: it did not answer" in page([one])
    assert "50.0 %" in page([one])
    alone = [{**model, "gain": None, "accuracy": 0.37}]  # a site whose limits keep figures of its own model
    table["sites"][0]["models"] = alone  # type: ignore[index]
    assert "37.0 %" in page([facts(cross_site=table, detail={"classes": ["a", "b", "c"]})])


def test_what_was_not_measured_is_left_out_and_nothing_is_taken_for_html() -> None:
    bare = page([facts()])
    assert "<h1>Mosaic</h1>" in bare
    assert "accuracy, calibration and confusions: no labelled test set" in bare
    for heading in (
        "How good the models are",
        "What each site gains",
        "May its certainty",
        "What each site contributed",
    ):
        assert heading not in bare
    evil = page([facts(models=[EVIL], accuracy=0.5, detail={"samples": 10, "classes": [EVIL]}, recall=[0.5])])
    assert EVIL not in evil
    assert "23.7 % to 76.3 %" in evil


def test_an_ensemble_is_no_model_that_was_trained() -> None:
    whole = crowd(2, 3)
    assert "2 sites trained one model together" in page([whole])
    shown = page([replace(whole, result={**whole.result, "models_served": 2})])
    assert "2 sites bring their models, which answer together" in shown
    assert "learnt from a teacher" not in shown


def test_reasons_are_on_the_page() -> None:
    row = {"client": 0, "state": "quarantined", "reasons": ["its model contradicts all others"]}
    shown = page([facts(choice={"trust": {"clients": [row]}}, left_out=[{"client": 1, "reason": "no answer"}])])
    assert "client 0 is quarantined: its model contradicts all others" in shown
    assert "client 1 was left out: no answer" in shown
    assert "&lt;script&gt;" in page([replace(facts(), notes=[EVIL])])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "run"
    idle = ("--aggregate", "median")  # which a run without rounds notes
    mosaic("run", "--data", "digits", "--workers", "1", *idle, *QUICK, "--out", out, cwd=out.parent)
    return out


def test_a_run_ends_in_its_page(folder: Path) -> None:
    written = (folder / "report.html").read_text()
    result = json.loads((folder / "result.json").read_text())
    assert sum(map(sum, result["detail"]["confusion"])) == result["detail"]["samples"] == 355
    assert f"{100 * result['accuracy']:.1f} %" in written
    assert "Mosaic has no use for rounds.aggregate = median" in written
    assert result["versions"]["torch"] in written
    assert len(written) < 3e6
    assert not re.search(r"(src|href)=.?(https?:|//)", written)  # nothing is loaded
    for part in re.findall(r"<svg.*?</svg>", written, re.DOTALL):
        ElementTree.fromstring(part)  # noqa: S314  what was drawn here
    assert written.count("<img") == len(result["models"])  # samples of each generator
    assert sum(map(sum, result["detail"]["split"]["counts"])) == sum(result["samples"])
    assert len(result["detail"]["without"]["clients"]) == 5
    for heading in (
        "Who holds what",
        "By class, on the test set",
        "Whom the teacher listens to",
        "What the generators draw",
    ):
        assert heading in written


def test_the_command_writes_it_again_and_side_by_side(folder: Path, tmp_path: Path) -> None:
    first = (folder / "report.html").read_bytes()
    mosaic("report", folder, cwd=folder)
    assert (folder / "report.html").read_bytes() == first
    mosaic("report", str(folder), str(folder), "--out", "two.html", cwd=tmp_path)
    assert "Side by side" in (tmp_path / "two.html").read_text()


@pytest.mark.parametrize("strange", [None, 3, "x", [], {}, [None], {"sites": [3]}, [{"client": "x"}], -0.5])
def test_strange_figures_are_one_line(strange: object, tmp_path: Path) -> None:
    """Whatever stands for a figure: there is a page without it, or one line that says what to do."""
    whole = crowd(2, 3).result
    for key in whole:
        (tmp_path / "result.json").write_text(json.dumps({**whole, key: strange}))
        with contextlib.suppress(UsageError):
            assert "<!doctype html>" in page_of([tmp_path])
    for key in whole["detail"]:
        (tmp_path / "result.json").write_text(json.dumps({**whole, "detail": {**whole["detail"], key: strange}}))
        with contextlib.suppress(UsageError):
            assert "<!doctype html>" in page_of([tmp_path])


def test_a_page_is_written_without_torch() -> None:
    script = "import sys; import mosaic_fl.report.page.page; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


def test_wrong_folders_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "name the folder of a run that has ended" in fails(capsys, "report", str(tmp_path))
    assert "exists: add --force" in fails(capsys, "report", str(folder), "--out", str(folder / "report.html"))
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UsageError, match="is damaged"):
        read_facts(tmp_path)


@pytest.mark.parametrize(("clients", "classes"), [(1000, 40), (40, 100), (3, 1000)])
def test_no_page_is_larger_than_three_megabytes(clients: int, classes: int) -> None:
    written = page([crowd(clients, classes)])
    assert len(written.encode()) < 3_000_000
    assert "… the rest is in result.json" in written


def test_of_many_runs_some_have_a_row_alone() -> None:
    several = page([crowd(40, 40)] * 4)
    assert len(several.encode()) < 3_000_000
    assert "3 of 4 runs have no page below" in several
    assert several.count("<article") == 1
