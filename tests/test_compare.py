"""`mosaic compare` from its words to its files: a smoke of every method, kills, faults and wrong input."""

import csv
import io
import json
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from command import fails, mosaic, start
from grids import COMPARE, SOME, figures
from mosaic_fl.cli.compare import clock, numbers
from mosaic_fl.cli.main import main
from mosaic_fl.comparison.grid import Setting, all_methods
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import Federation, FitJob, Fitted
from mosaic_fl.methods import METHODS, Card
from mosaic_fl.methods.outcome import Outcome


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    shown = mosaic(*SOME, "--seeds", "0", "--out", "grid", cwd=folder)
    assert "2 clients · α = 1 · equal architectures · 2 rounds" in shown
    assert "one seed: cannot say" in shown
    return folder / "grid"


def test_every_method_runs_or_says_why_not(tmp_path: Path) -> None:
    mosaic(*COMPARE, "--methods", "all", "--seeds", "0", "--workers", "1", "--out", "all", cwd=tmp_path)
    rows = list(csv.DictReader((tmp_path / "all" / "table.csv").open()))
    assert {row["method"] for row in rows} == set(all_methods())
    for row in rows:
        if row["accuracy"]:
            assert 0 <= float(row["accuracy"]) <= 100
            assert int(float(row["models_served"])) >= 1
        else:
            assert row["note"], row
    ran = {row["method"] for row in rows if row["accuracy"]}
    boosts = {name for name, card in METHODS.items() if card.boosts}
    vectors = {name for name, card in METHODS.items() if card.vectors}
    assert ran == set(all_methods()) - boosts - vectors  # in one of the two settings at least
    assert all("rows of a table" in row["note"] for row in rows if row["method"] in boosts)
    assert all("vectors of a public encoder" in row["note"] for row in rows if row["method"] in vectors)
    equal = {name for name, card in METHODS.items() if card.equal_architectures}
    mixed = {row["method"]: row["note"] for row in rows if row["architectures"] == "mixed"}
    assert all(mixed[name] == "needs equal architectures" for name in equal)


def test_a_grid_leaves_its_tables_its_cells_and_nothing_shared(finished: Path) -> None:
    assert len(list((finished / "cells").glob("*.json"))) == 8  # equal: 2 + 2 + 1, mixed: 2 + 0 + 1
    assert not list((finished / "shared").iterdir())
    assert (finished / "pictures" / "compare.png").stat().st_size > 10_000
    shown = (finished / "report.html").read_text()
    assert shown.count('<section id="setting-1-') == 4
    assert "with Wilson's 95 % interval" in shown.replace("&#39;", "'")  # the number of test samples is in table.json
    text = (finished / "table.md").read_text()
    assert text.count("###") == 4
    assert "needs equal architectures" in text
    rows = list(csv.DictReader((finished / "table.csv").open()))
    assert len(rows) == 4 * 3
    assert all(float(r["client_seconds"]) > 0 for r in rows if r["accuracy"] and r["method"] != "centralised")


def test_killed_and_resumed_ends_the_same_and_repeats_nothing(finished: Path, tmp_path: Path) -> None:
    words = [*SOME, "--seeds", "0", "--out", "killed"]
    process = start(*words, cwd=tmp_path)
    while len(list((tmp_path / "killed").glob("cells/[!.]*"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("cells/[!.]*")}
    assert len(before) >= 3  # on a machine that stalled us, all of them: then there is nothing to repeat
    mosaic(*words, "--resume", cwd=tmp_path)
    assert figures(tmp_path / "killed") == figures(finished)
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())


def test_what_a_kill_after_the_last_cell_left_is_removed(finished: Path) -> None:
    left = finished / "shared" / Setting(2, 1.0, "equal", 0).name / "fits"
    other = finished / "shared" / "notes"  # no setting of this grid
    for folder in (left, other):
        folder.mkdir(parents=True)
    mosaic(*SOME, "--seeds", "0", "--out", "grid", "--resume", cwd=finished.parent)
    assert list((finished / "shared").iterdir()) == [other]
    other.rmdir()


def test_a_folder_whose_name_could_be_markup(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "ü x[/b]")
    shown = mosaic(*SOME, "--seeds", "0", "--out", "ü x[/b]", "--resume", cwd=tmp_path)
    assert "Results: ü x[/b]/table.md" in shown


def test_a_cell_without_its_figure_is_run_again(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "grid")
    damaged = next((tmp_path / "grid" / "cells").glob("*fedavg_rounds-1.json"))
    damaged.write_text('{"status": "done"}')
    mosaic(*SOME, "--seeds", "0", "--out", "grid", "--resume", cwd=tmp_path)
    assert figures(tmp_path / "grid") == figures(finished)


def test_a_terminal_without_greek_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr("sys.stdout", out)
    with pytest.raises(SystemExit) as exit:
        main(["compare", "--methods", "fedavg", "--seeds", "0", "--architectures", "equal", "--list"])
    out.flush()
    assert exit.value.code == 0
    assert b"5 clients \xb7 ? = 0.1" in out.buffer.getvalue()  # type: ignore[attr-defined]


def test_interrupting_says_in_one_line_how_to_go_on(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*SOME, "--seeds", "0", "--out", "grid"]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "fedavg", replace(METHODS["fedavg"], code=interrupted))
        line = fails(capsys, *words, code=1)
    assert line == "interrupted; what was finished is kept: go on with --resume"
    assert len(list(Path("grid/cells").iterdir())) == 2
    assert list(Path("grid/shared").iterdir())
    mosaic(*words, "--resume", cwd=tmp_path)
    assert figures(Path("grid")) == figures(finished)


class Stops:
    """A federation whose clients may be asked to `fit` in the rounds of `answers` alone."""

    def __init__(self, federation: Federation, answers: int) -> None:
        self.federation, self.answers = federation, answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self.federation, name)

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        if round != self.answers:
            raise KeyboardInterrupt
        return self.federation.fit(jobs, round)


def test_a_cell_goes_on_where_it_was_killed(
    capsys: pytest.CaptureFixture[str], finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words, half = [*SOME, "--seeds", "0", "--out", "grid"], "grid/shared/clients-2_alpha-1.0_equal_seed-0/half"
    for only, code in ((0, 1), (1, 0)):  # killed in the second round, then taken up there
        card = METHODS["fedavg"]

        def run(federation: Federation, *rest: Any, only: int = only, card: Card = card) -> Outcome:
            return card.run(Stops(federation, only) if rest[0].rounds.warm_up == 2 else federation, *rest)

        with monkeypatch.context() as patch:
            patch.setitem(METHODS, "fedavg", replace(card, code=run))
            if code:
                fails(capsys, *words, code=code)
                assert [path.name for path in Path(half).glob("*/stages/*.safetensors")] == ["round-0000.safetensors"]
            else:
                mosaic(*words, "--resume", cwd=tmp_path)
    assert figures(Path("grid")) == figures(finished)
    seconds = [json.loads(path.read_text())["client_seconds"] for path in Path("grid/cells").glob("*fedavg_rounds-2*")]
    assert min(seconds) > 0
    assert not list(Path("grid/shared").iterdir())


def test_one_fault_does_not_stop_the_others_and_is_tried_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [*SOME, "--architectures", "equal", "--seeds", "0", "--out", "grid"]

    def broken(*_: object) -> None:
        raise RuntimeError("out of\nmemory")

    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "fedavg", replace(METHODS["fedavg"], code=broken))
        line = fails(capsys, *words, code=1)
    assert "fedavg, 1 round (and 1 more): out of memory; --resume tries again" in line
    assert "failed: out of memory" in Path("grid/table.md").read_text()
    assert len(list(Path("grid/cells").iterdir())) == 3
    mosaic(*words, "--resume", cwd=tmp_path)
    assert "failed" not in Path("grid/table.md").read_text()


def test_the_folder_of_another_comparison(
    capsys: pytest.CaptureFixture[str], finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.parent)
    words = [*SOME, "--seeds", "0", "--out", "grid"]
    assert "add --resume" in fails(capsys, *words)
    assert "--seeds 0, not with --seeds 0,1" in fails(capsys, *SOME, "--seeds", "0,1", "--out", "grid", "--resume")
    assert "distill.steps = 6, not 7" in fails(capsys, *words, "--set", "distill.steps=7", "--resume")
    assert "another command" in fails(capsys, "run", "--out", "grid", "--resume")
    mosaic(*words, "--resume", cwd=finished.parent)  # nothing is left to do


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--methods", "mosaic,densee"], ["unknown method 'densee'"]),
        (["--methods", "fedvag"], ["unknown method 'fedvag'", "fedavg"]),
        (["--methods", ""], ["--methods ''", "empty"]),
        (["--seeds", "0,x"], ["--seeds '0,x'", "whole numbers"]),
        (["--seeds", "0.5"], ["--seeds '0.5'", "whole numbers"]),
        (["--seeds", "0,,1"], ["--seeds '0,,1'", "empty"]),
        (["--alpha", "small"], ["--alpha 'small'", "numbers"]),
        (["--alpha", "0"], ["partition.alpha"]),
        (["--rounds", "0"], ["--rounds 0"]),
        (["--architectures", "mixd"], ["unknown architectures 'mixd'", "mixed"]),
        (["--methods", "fedavg", "--architectures", "mixed"], ["no cell of this grid can run"]),
        (["--set", "run.seed=3"], ["run.seed", "--seeds"]),
        (["--set", "distill.step=3"], ["unknown setting 'distill.step'"]),
        (["--set", "rounds.fine_tune=3"], ["rounds.fine_tune", "no rounds after the result"]),
        (["--set", "mosaic:models.student=mlp:8"], ["models.student is the same for all methods", "without mosaic:"]),
        (["--set", "mosaic:data.max_train=50"], ["data.max_train is the same for all methods"]),
        (["--set", "mosaic:partition.split=iid"], ["partition.split is the same for all methods"]),
        (["--set", "mosaic:run.device=cpu"], ["run.device is the same for all methods"]),
        (["--set", "fedavg:rounds.warm_up=3"], ["axis of the grid: say --rounds"]),
        (["--methods", "dense", "--set", "dense:rounds.warm_up=3"], ["axis of the grid: say --rounds"]),
        (["--set", "mosaic:trian.epochs=3"], ["unknown section 'trian'", "train"]),
        (["--models", "cmn:3,mlp:8"], ["unknown model 'cmn'"]),
        (["--data", "digit"], ["unknown data set 'digit'"]),
        (["--jobs", "0"], ["--jobs '0'", "at least 1"]),
        (["--jobs", "two"], ["--jobs 'two'", "auto"]),
        (["--preset", "papr"], ["unknown preset"]),
    ],
)
def test_wrong_words(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = fails(capsys, "compare", *words)
    assert all(part in line for part in parts), line
    assert not Path("runs").exists()  # before any work is spent


def test_list_prints_the_cells_and_does_nothing(tmp_path: Path) -> None:
    lines = mosaic(*SOME, "--seeds", "0,1", "--list", cwd=tmp_path).splitlines()
    assert len(lines) == 2 * 2 * 5 + 1
    assert lines[0] == "2 clients · α = 1 · equal · seed 0 · mosaic, 1 round"
    assert lines[-1] == "20 cells, 4 of them cannot run"
    assert sum("needs equal architectures" in line for line in lines) == 4
    assert not list(tmp_path.iterdir())


def test_the_full_grid(tmp_path: Path) -> None:
    words = ["compare", "--full", "--data", "digits", "--methods", "mosaic,fedavg", "--seeds", "0", "--list"]
    lines = mosaic(*words, cwd=tmp_path).splitlines()
    assert len(lines) == 3 * 4 * 2 * 4 + 1  # clients × α × architectures × (two methods with 1 and 20 rounds)
    assert any(line.startswith("20 clients · α = 0.01 · mixed · seed 0 · mosaic, 20 rounds") for line in lines)


def test_help_fits_a_screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 43
    assert max(map(len, lines)) <= 80


def test_numbers_and_times() -> None:
    assert numbers("seeds", "0, 2,1", int) == [0, 2, 1]
    assert numbers("alpha", "0.01,1e-1", float) == [0.01, 0.1]
    with pytest.raises(UsageError, match="empty"):
        numbers("seeds", "1,", int)
    assert [clock(s) for s in (0.4, 63, 3723)] == ["0:00", "1:03", "1:02:03"]
