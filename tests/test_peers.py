"""benchmarks/peers: the loop by hand and mosaic do the same work, and are measured alike."""

import importlib
import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mosaic_fl.config import Config
from mosaic_fl.data.sources import load
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.experts.training import steps_for
from mosaic_fl.methods.averaging import local_settings
from mosaic_fl.models import build
from mosaic_fl.models.inference import accuracy

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
TRAIN = 64  # images
TEST = 40
Module = Callable[[str], ModuleType]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """A module of the benchmark by its name."""
    monkeypatch.syspath_prepend(str(PEERS))
    yield importlib.import_module
    for name in [name for name, each in sys.modules.items() if str(PEERS) in str(getattr(each, "__file__", ""))]:
        del sys.modules[name]


@pytest.fixture
def files(digits: Dataset, tmp_path: Path) -> Path:
    """X of X-train.parquet and X-test.parquet: digits of 28 × 28 pixels."""
    for part, rows in (("train", range(TRAIN)), ("test", range(TRAIN, TRAIN + TEST))):
        images = list[dict[str, bytes]]()
        for row in rows:
            png = io.BytesIO()
            Image.fromarray(digits.images[row, 0].numpy()).resize((28, 28)).save(png, "PNG")
            images.append({"bytes": png.getvalue()})
        labels = [int(digits.labels[row]) for row in rows]
        pq.write_table(pa.table({"image": images, "label": labels}), tmp_path / f"x-{part}.parquet")
    return tmp_path / "x"


def test_the_loop_has_mosaics_images_network_and_accuracy(module: Module, files: Path) -> None:
    experiment: ModuleType = module("experiment")
    data = load(Config().with_values({"data.name": str(files)}).data, 0)
    images, labels = experiment.read_images(Path(f"{files}-test.parquet"))
    assert torch.equal(images, data.test.images)
    assert torch.equal(labels, data.test.labels)
    by_hand = experiment.network()
    ours = build("cnn:16:2:4", data.test.schema)
    assert [tuple(p.shape) for p in by_hand.parameters()] == [tuple(p.shape) for p in ours.parameters()]
    ours.load_state_dict(dict(zip(ours.state_dict(), by_hand.state_dict().values(), strict=True)))
    outputs = ours.eval().log_probabilities(data.test.samples)
    assert torch.allclose(outputs, by_hand(experiment.inputs(images)), atol=1e-5)
    share = experiment.accuracy(by_hand, Path(f"{files}-test.parquet"))
    assert share == pytest.approx(accuracy(outputs, data.test.labels), abs=1e-6)


def test_a_client_of_mosaic_has_one_pass_of_plain_sgd(module: Module, files: Path, tmp_path: Path) -> None:
    # 64 images, 2 clients, batches of 8: 4 steps each
    trial = module("experiment").Experiment(Path(f"{files}-train.parquet"), Path(), 2, 3, 8, 0.05, 0)
    words = module("ways").ours(trial, "1", tmp_path)
    values = dict(word.split("=") for before, word in pairwise(words) if before == "--set")
    config = Config().with_values(
        {key: json.loads(value) if value[0].isdigit() else value for key, value in values.items()}
    )
    train = config.train.model_copy(update=local_settings(config.rounds))
    assert steps_for(32, train) == 4
    assert (train.optimiser, train.lr, train.momentum, train.weight_decay) == ("sgd", 0.05, 0, 0)
    assert (train.schedule, train.batch_size, config.data.validation) == ("constant", 8, 0)
    model = module("experiment").network()
    assert module("experiment").train(model, *module("experiment").shards(trial)[0], trial.batch, trial.lr) == 4


def test_the_whole_run_resumes_and_has_equal_steps(
    module: Module, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--data", str(files), "--ways", "floor,ours-1", "--images", str(TRAIN), "--test-images", str(TEST)]
    words += ["--clients", "2", "--rounds", "2", "--batch", "16", "--repeats", "1", "--out", str(tmp_path / "out")]
    # In a process of its own, since it waits for all children that it has.
    done = subprocess.run(
        [sys.executable, str(PEERS), *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "runs.jsonl").read_text().splitlines()
    runs = {run["way"]: run for run in map(json.loads, lines)}
    assert {name: run["steps"] for name, run in runs.items()} == {"floor": 8, "ours-1": 8}  # 2 clients × 2 rounds × 2
    for run in runs.values():
        assert run["wall"] > 0
        assert run["cpu"] > 0
        assert run["peak"] > 2**26  # bytes: torch alone has more
        assert run["accuracy"] * TEST == pytest.approx(round(run["accuracy"] * TEST), abs=1e-4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["peers", *words])
    runpy.run_path(str(PEERS), run_name="__main__")
    assert (tmp_path / "out" / "runs.jsonl").read_text().splitlines() == lines
    assert "| mosaic, 1 worker |" in (tmp_path / "out" / "table-2.md").read_text()


def test_ratios_are_those_of_medians_against_the_loop(module: Module) -> None:
    def run(way: str, wall: float) -> dict:
        return {
            "way": way,
            "wall": wall,
            "cpu": wall,
            "peak": 2e6,
            "accuracy": 0.5,
            "steps": 8,
            "versions": {"torch": "2"},
        }

    runs = [run("floor", wall) for wall in (9.0, 2.0, 4.0)] + [run("ours-2", wall) for wall in (1.0, 3.0, 2.0)]
    trial = module("experiment").Experiment(Path(), Path(), 2, 2, 16, 0.1, 0)
    text = module("table").table(runs, {"pfl": "no wheel"}, trial, 64)
    assert "| mosaic, 2 workers | 2.0 (1.0–3.0) | 0.50 | 2.0 (1.0–3.0) | 0.50 | 2 (2–2) | 1.00 | 50.0 | 8 | 3 |" in text
    assert "| pfl-research | skipped: no wheel |" in text
    assert "torch 2" in text


def test_the_cost_of_a_command_is_that_of_all_its_processes(tmp_path: Path) -> None:
    """An orphan, too, is adopted and counted: here it spends most of the processor time."""
    spend = "import time\nwhile time.process_time() < 0.5: pass"
    orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {spend!r}])"
    # In a process of its own, since it would adopt the orphans of other tests.
    code = (
        "import sys; from pathlib import Path; from measure import measure; "
        f"cost = measure([sys.executable, '-c', {orphan!r}], Path('log'), {{}}, 60); "
        "print(cost.cpu, cost.code, cost.peak)"
    )
    path = {**os.environ, "PYTHONPATH": str(PEERS)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=path, capture_output=True, text=True, check=True
    )
    cpu, status, peak = done.stdout.split()
    assert float(cpu) > 0.5
    assert int(status) == 0
    assert int(peak) > 2**20
