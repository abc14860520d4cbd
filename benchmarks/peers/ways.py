"""The ways to run the experiment: the command of each, what it cost, and what came out."""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from environments import PEERS, last_error, python_of, versions
from experiment import Experiment
from measure import measure

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = Path("build/peers")
THREADS_OF_TORCH = 0
LIMIT = 1800.0  # seconds of a run
WAYS = ("floor", "ours-1", "ours-2", "flower", "fluke", "pfl", "floor-threads", "fluke-threads", "pfl-threads")
"""`-1` and `-2` have so many workers; `-threads` has as many threads as torch takes by itself, the others have one."""


def run(way: str, experiment: Experiment, out: Path) -> dict[str, Any]:
    """`wall`, `cpu` (seconds), `peak` (bytes), `accuracy`, `steps` and `versions` of one run.

    Raises NotInstalledError, and RuntimeError where the run fails.
    """
    name, _, variant = way.partition("-")
    folder = out / "runs" / way
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    python = python_of(name, ENVIRONMENTS) if name in PEERS else Path(sys.executable)
    if name == "ours":
        command = [str(python), "-c", "from mosaic_fl.cli.main import main; main()", *ours(experiment, variant, folder)]
    else:
        threads = THREADS_OF_TORCH if variant == "threads" else 1
        script = PEERS[name].script if name in PEERS else "floor.py"
        command = [str(python), str(HERE / script), *replace(experiment, threads=threads).words()]
    log = folder / "output.txt"
    cost = measure(command, log, environment(), LIMIT)
    if cost.code:
        raise RuntimeError(f"{way} ended with {cost.code}: {last_error(log)}")
    figures = from_result(folder, experiment) if name == "ours" else from_output(log)
    about = versions(python, ("torch", "mosaic-fl", "flwr", "ray", "fluke-fl", "pfl"))
    return {"wall": cost.wall, "cpu": cost.cpu, "peak": cost.peak, **figures, "versions": about}


def ours(experiment: Experiment, workers: str, folder: Path) -> list[str]:
    """The words after `mosaic`."""
    data = str(experiment.train).removesuffix("-train.parquet")
    settings = {
        "rounds.steps": steps_of_client(experiment),
        "rounds.lr": experiment.lr,
        "train.batch_size": experiment.batch,
        "train.momentum": 0,
        "train.weight_decay": 0,
        "train.schedule": "constant",
        "data.validation": 0,
    }
    words = ["run", "--method", "fedavg", "--data", data, "--models", "cnn:16:2:4", "--split", "iid"]
    words += ["--clients", str(experiment.clients), "--rounds", str(experiment.rounds), "--workers", workers]
    words += ["--seed", str(experiment.seed), "--out", str(folder / "run")]
    return words + [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def steps_of_client(experiment: Experiment) -> int:
    """Steps of a client in a round: one pass, of whole batches."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(experiment.train).num_rows) // (experiment.clients * experiment.batch)


def environment() -> dict[str, str]:
    """This process's environment without what would choose the threads of a library."""
    return {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}


def from_result(folder: Path, experiment: Experiment) -> dict[str, Any]:
    """The figures of a run of mosaic, whose settings fix the number of its steps."""
    accuracy = json.loads((folder / "run" / "result.json").read_text())["accuracy"]
    return {"accuracy": accuracy, "steps": steps_of_client(experiment) * experiment.clients * experiment.rounds}


def from_output(log: Path) -> dict[str, Any]:
    """The figures that a script printed last; see `experiment.report`."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith('{"accuracy"')]
    return dict(json.loads(lines[-1]))
