"""Tracking: the points that trackers get, what ends it, and the real packages of those that are installed."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from command import fails
from grids import COMPARE
from grids import figures as cell_results
from mosaic_fl.cli.main import main
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import write_atomic
from mosaic_fl.tracking.curves import Curves
from mosaic_fl.tracking.following import final_figures, following
from mosaic_fl.training.monitor import deaf

RESULT = {"accuracy": 0.75, "method": "mosaic", "centralised_accuracy": None, "local_accuracy": [0.5, None, 0.25]}
RESULT |= {"seconds": {"train": 2.0}, "strict": True}
FINAL = {"final/accuracy": 0.75, "final/local_accuracy/client 0": 0.5, "final/local_accuracy/client 2": 0.25}
FINAL |= {"final/seconds/train": 2.0}
SPY = """
import json
import warnings
from mosaic_fl.tracking.tracker import TrackerKind
class Spy:
    def __init__(self, folder): self.folder = folder
    def tell(self, *what): (self.folder / "told").open("a").write(json.dumps(what) + "\\n")
    def figures(self, values, step):
        if "bad/loss" in values: raise OSError("the server is gone\\nand more")
        self.tell("figures", values, step)
    def file(self, path): self.tell("file", path.name)
    def end(self, *, succeeded): self.tell("end", succeeded)
def start(name, folder, parameters):
    if parameters.get("run.seed") == "9": raise OSError("nobody is logged in")
    spy = Spy(folder); spy.tell("start", name, parameters); return spy
KIND = TrackerKind("Spy", (), start)
"""


@pytest.fixture
def spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a tracker of another package, which writes what it is told into the run's folder, `told`."""
    place = tmp_path / "packages"
    (place / "spy-1.dist-info").mkdir(parents=True)
    (place / "spy_tracker.py").write_text(SPY)
    (place / "spy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: spy\nVersion: 1\n")
    (place / "spy-1.dist-info" / "entry_points.txt").write_text("[mosaic_fl.trackers]\nspy = spy_tracker:KIND\n")
    monkeypatch.setenv("PYTHONPATH", f"{place}:{Path(__file__).parents[1] / 'src'}")
    monkeypatch.syspath_prepend(str(place))
    return "spy"


def put(folder: Path, *lines: dict[str, Any]) -> None:
    """These lines as a new `metrics.jsonl` of `folder`."""
    folder.mkdir(exist_ok=True)
    write_atomic(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def told(folder: Path) -> list[list[Any]]:
    """What the spy was told, in order."""
    return [json.loads(line) for line in (folder / "told").read_text().splitlines()]


def test_each_stage_is_told_once_and_figures_that_are_no_numbers_are_not(tmp_path: Path) -> None:
    student = {"stage": "student", "step": 10, "loss": 0.5, "holdout_loss": float("nan")}
    put(tmp_path, student)
    curves = Curves(tmp_path)
    assert list(curves.new()) == [({"student/loss": 0.5}, 10)]
    assert list(curves.new()) == []
    put(tmp_path, {"stage": "client-003", "client": 3, "part": "train", "step": 0, "loss": 2}, student)
    assert list(curves.new()) == [({"train/client 3/loss": 2.0}, 0)]


def test_of_a_file_that_grows_what_is_whole_is_told_once(tmp_path: Path) -> None:
    """A reader that comes between two parts of a write, and then the end of the run, which sorts the lines."""
    lines = [{"stage": stage, "step": step, "loss": 1.0} for stage in ("b", "a") for step in (0, 1)]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    file = tmp_path / "metrics.jsonl"
    curves = Curves(tmp_path)
    assert list(curves.new()) == []
    steps = list[int]()
    for end in (10, 50, 60, len(content)):
        file.write_text(content[:end])
        steps += [step for _, step in curves.new()]
    assert steps == [0, 1, 0, 1]
    put(tmp_path, *lines[2:], *lines[:2])
    assert list(curves.new()) == []


def test_rounds_are_one_curve_whose_steps_rise(tmp_path: Path) -> None:
    """A client's steps begin at 0 in each round; step −1 is a figure of all steps."""
    rounds = [("round-0000", 0), ("round-0000", 5), ("round-0001", 0), ("round-0001", 5), ("round-0001", -1)]
    put(tmp_path, *({"stage": stage, "client": 1, "step": step, "loss": 1.0} for stage, step in rounds))
    assert [step for _, step in Curves(tmp_path).new()] == [0, 5, 6, 11, 12]


def test_final_figures_are_the_numbers_of_the_result_by_client() -> None:
    assert final_figures(RESULT) == FINAL
    assert final_figures({"contributors": [4, 7], "samples": [9, 8]}) == {
        "final/samples/client 4": 9.0,
        "final/samples/client 7": 8.0,
    }


def test_a_run_tells_a_tracker_of_another_package_in_order(spy: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with following([spy], run, {"run.seed": 3}) as tracked:
        hear = tracked.beside(deaf)
        put(run, {"stage": "meta", "step": 0, "loss": 1.0})
        hear("meta", -1, 1, 2)  # not its end
        hear("meta", -1, 2, 2)
        (run / "result.json").write_text(json.dumps(RESULT))
        tracked.finish()
    assert told(run) == [
        ["start", "run", {"run.seed": "3"}],
        ["figures", {"progress/stages": 1}, 1],
        ["figures", {"meta/loss": 1.0}, 0],
        ["figures", FINAL, 0],
        ["file", "result.json"],
        ["file", "metrics.jsonl"],
        ["end", True],
    ]


def test_a_run_that_fails_ends_as_failed(spy: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a fault"), following([spy], tmp_path / "run", {}):
        raise ValueError("a fault")
    assert told(tmp_path / "run")[-1] == ["end", False]


def test_a_tracker_that_is_lost_ends_no_run(spy: str, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def work() -> None:
        with following([spy], run, {}) as tracked:
            put(run, {"stage": "bad", "step": 0, "loss": 1.0})
            tracked.beside(deaf)("bad", -1, 1, 1)

    with pytest.warns(match="--track spy failed, and the run went on without it: OSError: the server is gone$"):
        work()
    assert [what for what, *_ in told(run)] == ["start", "figures"]


def test_a_tracker_that_cannot_start_stops_before_any_work(spy: str, tmp_path: Path) -> None:
    why = "--track spy cannot start: OSError: nobody is logged in; mend it, or leave out --track; then --resume"
    with pytest.raises(UsageError, match=why), following([spy], tmp_path / "run", {"run.seed": 9}):
        pytest.fail("the work began")


def test_an_unknown_tracker_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = fails(capsys, "run", "--track", "tensorbord")
    assert line == "unknown tracker 'tensorbord': did you mean tensorboard?"


FEW = ["--clients", "2", "--models", "mlp:4", "--student", "mlp:4", "--split", "iid"]
FEW += ["--set", "data.max_train=300", "--set", "run.workers=1"]
FEW += [w for s in ("train.min_steps", "train.max_steps", "distill.steps") for w in ("--set", f"{s}=3")]
"""A run of a second or two."""


def quick_run(out: Path, *words: str) -> dict[str, Any]:
    """The result of such a run, without its seconds."""
    with pytest.raises(SystemExit) as ended:
        main(["run", "--method", "fedavg", "--rounds", "2", *FEW, "--out", str(out), *words])
    assert ended.value.code == 0
    result: dict[str, Any] = json.loads((out / "result.json").read_text())
    return {name: value for name, value in result.items() if name != "seconds"}


def test_tensorboard_has_the_curves_and_the_result_is_the_same(tmp_path: Path) -> None:
    accumulator: Any = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    plain = quick_run(tmp_path / "plain")
    assert quick_run(tmp_path / "tracked", "--track", "tensorboard") == plain
    events = accumulator.EventAccumulator(str(tmp_path / "tracked" / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("final/accuracy")] == pytest.approx([plain["accuracy"]])
    rounds = [event.step for event in events.Scalars("round/validation_accuracy_mlp:4")]
    assert rounds == [0, 1]
    assert "settings/text_summary" in events.Tags()["tensors"]


GRID = [*COMPARE, "--seeds", "0", "--methods", "fedavg,centralised", "--architectures", "equal", "--workers", "1"]
CELLS = ["clients-2_alpha-1.0_equal_seed-0_fedavg_rounds-1", "clients-2_alpha-1.0_equal_seed-0_centralised_rounds-1"]


def compare(out: Path, *words: str) -> dict[tuple[object, ...], object]:
    """The cells of this comparison of two methods and one seed; a second or two."""
    with pytest.raises(SystemExit) as ended:
        main([*GRID, "--out", str(out), *words])
    assert ended.value.code == 0
    return cell_results(out)


@pytest.fixture(scope="module")
def untracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The comparison without a tracker."""
    out = tmp_path_factory.mktemp("compare") / "grid"
    compare(out)
    return out


def test_each_cell_is_a_run_of_its_own_and_the_comparison_is_the_same(
    spy: str, untracked: Path, tmp_path: Path
) -> None:
    accumulator: Any = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    out = tmp_path / "grid"
    assert compare(out, "--track", f"tensorboard,{spy}") == cell_results(untracked)
    cells = {cell["method"]: cell for cell in json.loads((out / "table.json").read_text())["cells"]}
    for name, method in zip(CELLS, ("fedavg", "centralised"), strict=True):
        events = accumulator.EventAccumulator(str(out / "tracked" / name / "tensorboard"))
        events.Reload()
        assert [event.value for event in events.Scalars("final/accuracy")] == pytest.approx([cells[method]["accuracy"]])
        start, final, end = told(out / "tracked" / name)
        assert start[:2] == ["start", name]
        assert (start[2]["run.method"], start[2]["run.seed"], start[2]["compare.name"]) == (method, "0", "grid")
        assert final[1]["final/models_served"] == 1
        assert end == ["end", True]
    (_, name, settings), *others = told(out)
    assert (name, settings["compare.seeds"]) == ("grid", "0")
    assert "run.method" not in settings  # a cell's, not the comparison's
    assert others[:2] == [["figures", {"progress/cells": n}, n] for n in (1, 2)]
    assert ["file", "table.csv"] in others
    assert others[-1] == ["end", True]


def test_a_resumed_comparison_tells_of_each_cell_once(spy: str, untracked: Path, tmp_path: Path) -> None:
    """Also of those that were done without a tracker, and where a kill cut off a line of the record."""
    out = tmp_path / "grid"
    shutil.copytree(untracked, out)
    compare(out, "--resume", "--track", spy)
    assert {path.name for path in (out / "tracked").iterdir()} == set(CELLS)
    record = out / "tracked.jsonl"
    first, second = record.read_text().splitlines()
    record.write_text(f"{first}\n{second[:9]}")
    compare(out, "--resume", "--track", spy)
    assert record.read_text().splitlines() == [first, second[:9], second]
    compare(out, "--resume", "--track", spy)
    assert [len(told(out / "tracked" / name)) for name in CELLS] == [3, 6]


def test_a_tracker_that_is_lost_at_a_cell_ends_no_comparison(
    spy: str, untracked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "grid"
    shutil.copytree(untracked, out)
    (out / "tracked").write_text("no folder, so the spy cannot write there")
    assert compare(out, "--resume", "--track", spy) == cell_results(untracked)
    assert "--track spy failed, and the run went on without it: NotADirectoryError" in capsys.readouterr().err
    assert told(out)[-1][0] == "figures"
    assert not (out / "tracked.jsonl").exists()


def test_mlflow_has_settings_curves_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install 'mosaic-fl[track]'")
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.chdir(tmp_path)  # where its files go
    result = quick_run(tmp_path / "run", "--track", "mlflow")
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("mosaic-fl")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "run")
    assert run.data.params["partition.clients"] == "2"
    assert run.data.metrics["final/accuracy"] == pytest.approx(result["accuracy"])
    assert {"result.json", "report.html"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    history = client.get_metric_history(run.info.run_id, "round/validation_accuracy mlp:4")
    assert [point.step for point in history] == [0, 1]


def test_weights_and_biases_takes_a_run_without_sending_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its offline mode, as where nobody is logged in; and a run of a cell beside it, which goes on."""
    pytest.importorskip("wandb", reason="wandb is not installed: pip install 'mosaic-fl[track]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = tmp_path / "run"
    with warnings.catch_warnings(), following(["wandb"], run, {"run.seed": 3}) as tracked:
        warnings.simplefilter("error")  # a tracker that is lost is told as a note
        put(run, {"stage": "meta", "step": 0, "loss": 1.0})
        tracked.entry("cell", {"run.seed": 4}, {"final/beside": 0.5}, ["wandb"])
        (run / "result.json").write_text(json.dumps(RESULT))
        tracked.finish()
    (cell,) = run.glob("tracked/cell/wandb/offline-run-*/run-*.wandb")
    assert b"final/beside" in cell.read_bytes()
    (file,) = run.glob("wandb/offline-run-*/run-*.wandb")
    assert b"final/accuracy" in file.read_bytes()
