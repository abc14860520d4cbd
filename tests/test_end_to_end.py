"""Whole runs on real, embedded data through the real command line."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from command import QUICK, finish, mosaic, start
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel

DEMO = ["run", "--data", "digits", "--clients", "3", "--alpha", "0.5", "--centralised", *QUICK]


def result(folder: Path) -> dict[str, Any]:
    """`result.json` without what may differ between two runs: their time."""
    return {k: v for k, v in json.loads((folder / "result.json").read_text()).items() if k != "seconds"}


def files(folder: Path) -> dict[str, bytes]:
    """What a run leaves, without times."""
    kept = [
        *sorted(folder.glob("contributions/*")),
        folder / "global_model.safetensors",
        folder / "metrics.jsonl",
    ]
    return {path.name: path.read_bytes() for path in kept}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with two workers."""
    folder = tmp_path_factory.mktemp("runs")
    shown = finish(start(*DEMO, "--workers", "2", "--out", "demo", cwd=folder))
    assert "distilled student" in shown
    assert "demo/result.json" in shown
    return folder / "demo"


def test_a_run_writes_all_that_it_promises(finished: Path) -> None:
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert {
        "config.toml",
        "result.json",
        "metrics.jsonl",
        "global_model.safetensors",
        "contributions/client-000.contribution",
        "contributions/client-002.contribution",
        "pictures/split.png",
        "pictures/samples.png",
        "pictures/accuracy.png",
    } <= names
    assert not [name for name in names if name.startswith(".")]


def test_the_result_has_its_figures(finished: Path) -> None:
    figures = json.loads((finished / "result.json").read_text())
    assert (figures["method"], figures["data"], figures["clients"]) == ("mosaic", "digits", 3)
    assert (figures["alpha"], figures["seed"]) == (0.5, 0)
    shares = [
        "accuracy",
        "teacher_accuracy",
        "ensemble_accuracy",
        "class_weighted_accuracy",
        "centralised_accuracy",
    ]
    assert all(0 <= figures[name] <= 1 for name in shares)
    assert len(figures["local_accuracy"]) == len(figures["bytes_up"]) == len(figures["bytes_down"]) == 3
    sizes = [(finished / "contributions" / f"client-{k:03d}.contribution").stat().st_size for k in range(3)]
    assert figures["bytes_up"] == sizes
    assert figures["accuracy"] > 0.5  # even with few steps it has learnt something
    assert {"train", "generator", "meta", "pool", "student", "centralised"} <= figures["seconds"].keys()
    *stages, total = figures["seconds"].values()
    assert total == pytest.approx(sum(stages), abs=1e-9)


def test_one_worker_gives_the_same_bytes_as_two(finished: Path, tmp_path: Path) -> None:
    mosaic(*DEMO, "--workers", "1", "--out", "one", cwd=tmp_path)
    assert result(tmp_path / "one") == result(finished)
    assert files(tmp_path / "one") == files(finished)


@pytest.mark.parametrize("until", ["contributions/*", "stages/meta*", "stages/student*"])
def test_killed_and_resumed_ends_the_same_and_repeats_nothing(finished: Path, tmp_path: Path, until: str) -> None:
    process = start(*DEMO, "--workers", "2", "--out", "killed", cwd=tmp_path)
    while not list((tmp_path / "killed").glob(until)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "killed").glob("stages/[!.]*.safetensors")}
    mosaic(*DEMO, "--workers", "2", "--out", "killed", "--resume", "--keep-stages", cwd=tmp_path)
    assert result(tmp_path / "killed") == result(finished)
    assert files(tmp_path / "killed") == files(finished)
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())


def test_killed_workers_do_not_outlive_the_run(tmp_path: Path) -> None:
    process = start(*DEMO, "--workers", "2", "--out", "killed", cwd=tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not list((tmp_path / "killed").glob("contributions/*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    workers = [int(pid) for pid in children.read_text().split()]
    assert len(workers) == 2
    process.kill()
    process.communicate()
    for _ in range(500):
        if not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in workers):
            return
        time.sleep(0.01)
    pytest.fail("a worker outlived its parent by five seconds")


def test_interrupting_keeps_what_is_done_and_says_how_to_go_on(tmp_path: Path) -> None:
    """A distillation that would take hours, so that it cannot end before the signal comes."""
    process = start(*DEMO, "--workers", "2", "--set", "distill.steps=10000000", "--out", "run", cwd=tmp_path)
    try:
        while not list((tmp_path / "run").glob("stages/pool*")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last == "mosaic: interrupted; what was finished is kept: go on with --resume"
    assert len(list((tmp_path / "run" / "contributions").iterdir())) == 3


def test_files_alone_give_the_same_model_as_the_simulation(finished: Path, tmp_path: Path) -> None:
    mosaic("data", "--clients", "3", "--alpha", "0.5", "--export", "sites", "--out", "split.png", cwd=tmp_path)
    models = result(finished)["models"]
    for k, model in enumerate(models):
        mosaic(
            "contribute", *QUICK, "--data", f"sites/client-{k:03d}.parquet", "--model", model,
            "--client", str(k), "--out", f"{k}.contribution", cwd=tmp_path,
        )  # fmt: skip
        sent = (tmp_path / f"{k}.contribution").read_bytes()
        # A run's own file has the client's figures, too, which a site does not send.
        assert sent == Contribution.load(finished / "contributions" / f"client-{k:03d}.contribution").to_bytes()
    sent_files = [f"{k}.contribution" for k in (2, 0, 1)]  # in any order
    shown = mosaic("distill", *sent_files, *QUICK, "--test", "sites/test.parquet", "--out", "global", cwd=tmp_path)
    ours, theirs = tmp_path / "global" / "global_model.safetensors", finished / "global_model.safetensors"
    assert ours.read_bytes() == theirs.read_bytes()
    assert f"{100 * result(finished)['accuracy']:.1f}" in shown

    lines = mosaic("predict", "global", "--data", "sites/test.parquet", cwd=tmp_path).splitlines()
    answers = [json.loads(line) for line in lines]
    assert {"image", "file", "row", "class", "name", "probability", "confidence", "strangeness"} == answers[0].keys()
    from mosaic_fl.data.sources import load_file

    test = load_file(tmp_path / "sites" / "test.parquet")
    predicted = GlobalModel.load(ours).predict(test.images)
    assert torch.equal(torch.tensor([a["class"] for a in answers]), predicted)
    right = float((predicted == test.labels).float().mean())
    assert right == pytest.approx(result(finished)["accuracy"])


def test_fedavg_over_rounds(tmp_path: Path) -> None:
    words = [
        "run",
        "--method",
        "fedavg",
        "--models",
        "mlp:32",
        "--clients",
        "3",
        "--split",
        "iid",
        "--rounds",
        "3",
        *QUICK,
    ]
    mosaic(*words, "--workers", "2", "--out", "a", "--keep-stages", cwd=tmp_path)
    mosaic(*words, "--workers", "1", "--out", "b", cwd=tmp_path)
    assert result(tmp_path / "a") == result(tmp_path / "b")
    figures = result(tmp_path / "a")
    assert figures["accuracy"] > 0.8
    assert figures["teacher_accuracy"] is None
    assert len(list((tmp_path / "a" / "stages").glob("round-*"))) == 3


@pytest.mark.parametrize("family", ["dcgan", "cdcgan"])
def test_the_papers_generators_run(tmp_path: Path, family: str) -> None:
    mosaic(*DEMO, "--generator", family, "--set", "generator.steps=20", "--out", "run", cwd=tmp_path)
    assert 0 <= result(tmp_path / "run")["accuracy"] <= 1


def test_rounds_before_and_after_the_distillation(tmp_path: Path) -> None:
    """Two groups of architectures; half of the clients a round."""
    rounds = ["--rounds", "2", "--finetune-rounds", "1", "--set", "rounds.participation=0.5", "--set", "rounds.steps=5"]
    words = [
        *["run", "--clients", "4", "--alpha", "1", "--models", "mlp:8,mlp:16", "--student", "mlp:16"],
        *rounds,
        *QUICK,
    ]
    mosaic(*words, "--workers", "2", "--out", "a", "--keep-stages", cwd=tmp_path)
    mosaic(*words, "--workers", "1", "--out", "b", cwd=tmp_path)
    assert result(tmp_path / "a") == result(tmp_path / "b")
    assert len(list((tmp_path / "a" / "stages").glob("round-*"))) == 3
    figures, sizes = (
        result(tmp_path / "a"),
        [p.stat().st_size for p in sorted((tmp_path / "a").glob("contributions/*"))],
    )
    extra = [up - size for up, size in zip(figures["bytes_up"], sizes, strict=True)]
    assert all(more >= 0 for more in extra)
    assert sum(more > 0 for more in extra) >= 2  # two clients took part in each round


def test_the_papers_preset_runs(tmp_path: Path) -> None:
    """All of the paper's parts, on a tiny budget: rounds, class experts, prototypes, fresh DCGAN noise, fine-tuning."""
    tiny = {
        "rounds.warm_up": 2, "rounds.fine_tune": 1, "generator.epochs": 2, "generator.width": 4, "distill.steps": 20,
        "distill.batch_size": 30, "distill.pool": 100, "meta.steps": 20,
    }  # fmt: skip
    settings = [word for name, value in tiny.items() for word in ("--set", f"{name}={value}")]
    words = ["run", "--preset", "paper", "--clients", "3", "--alpha", "1", "--models", "mlp:16", "--student", "mlp:16"]
    mosaic(*words, *settings, "--workers", "2", "--out", "paper", cwd=tmp_path)
    figures = result(tmp_path / "paper")
    trust = figures["choice"].pop("trust")
    assert figures["choice"] == {"teacher": "meta", "label": 0.0, "terms": 1, "recognised": None}
    assert trust["quarantined"] == trust["down_weighted"] == []
    assert figures["transfer_samples"] == {"generators": 100, "prior": 0}


def test_clients_choose_the_teacher_and_prior_images_join_in(tmp_path: Path) -> None:
    words = ["run", "--clients", "3", "--alpha", "0.5", *QUICK, "--set", "distill.choose=true"]
    words += ["--set", "distill.teacher=auto"]
    more = ["--set", "distill.prior=procedural", "--set", "distill.prior_pool=200", "--models", "mlp:16"]
    more += ["--student", "mlp:16"]
    mosaic(*words, *more, "--workers", "2", "--out", "a", cwd=tmp_path)
    figures = result(tmp_path / "a")
    assert figures["transfer_samples"] == {"generators": 600, "prior": 200}
    scores = figures["choice"]["validation"]
    of_balanced = {"class_balanced-0", "class_balanced-measured", "class_balanced-100"}
    assert scores.keys() == of_balanced | {"class_evened-50", "class_weighted-50"}
    best = next(name for name, score in scores.items() if score == max(scores.values()))
    assert best.startswith(f"{figures['choice']['teacher']}-")
    assert best.endswith(("-measured", f"-{round(100 * figures['choice']['label'])}"))
    model = GlobalModel.load(tmp_path / "a")
    candidates = 6 * len(replace(model, assurance=None).to_bytes())
    assert figures["bytes_down"][0] == candidates + len(model.to_bytes())


@pytest.mark.parametrize("method", ["heterofl", "fedrolex"])
def test_sub_models_of_several_widths(tmp_path: Path, method: str) -> None:
    words = [
        "run",
        "--method",
        method,
        "--models",
        "cnn:4",
        "--clients",
        "3",
        "--split",
        "iid",
        "--rounds",
        "2",
        *QUICK,
    ]
    mosaic(*words, "--workers", "2", "--out", "a", cwd=tmp_path)
    up = result(tmp_path / "a")["bytes_up"]
    assert up == sorted(up, reverse=True)
    assert up[0] > up[2]


def test_mosaic_on_sub_models_of_several_widths(tmp_path: Path) -> None:
    """Clients can afford widths 1, 1/2 and 1/4 of one architecture; the student has the full one."""
    rounds = ["--rounds", "2", "--finetune-rounds", "1", "--set", "rounds.kind=fedrolex", "--set", "rounds.steps=10"]
    words = ["run", "--models", "cnn:4", "--student", "cnn:4", "--clients", "3", "--split", "iid", *rounds, *QUICK]
    mosaic(*words, "--set", "models.ratios=[1.0,0.5,0.25]", "--workers", "2", "--out", "a", cwd=tmp_path)
    from mosaic_fl.exchange.contribution import Contribution

    kept = sorted((tmp_path / "a" / "contributions").glob("*.contribution"))
    assert [Contribution.load(path).architecture for path in kept] == ["cnn:4", "cnn:2", "cnn:1"]
    assert GlobalModel.load(tmp_path / "a" / "global_model.safetensors").architecture == "cnn:4"
