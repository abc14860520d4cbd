"""All methods by name: that the names agree, what `mosaic methods` says, and each one whole by the command."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mosaic_fl
from command import QUICK, mosaic
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Splits
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.card import ALL_MODELS, ONE_MODEL
from mosaic_fl.runs.runner import prepare

ROUNDS = ("fedprox", "fedrs", "fedbn")
ENSEMBLES = ("fens", "mean_logits", "mean_probabilities", "class_weighted")


def test_every_method_is_one_that_the_configuration_knows() -> None:
    assert [Config().with_values({"run.method": name}).run.method for name in METHODS] == list(METHODS)
    assert next(iter(METHODS)) == "mosaic"


@pytest.mark.parametrize("name", METHODS)
def test_a_card_is_whole_and_its_defaults_are_settings(name: str) -> None:
    card = METHODS[name]
    assert card.title
    assert card.paper
    assert card.summary
    assert card.serves in (ONE_MODEL, ALL_MODELS)
    Config().with_values({**card.defaults, "run.method": name})


def test_the_command_lists_every_method(tmp_path: Path) -> None:
    shown = mosaic("methods", cwd=tmp_path)
    lines = shown.splitlines()
    assert len(lines) == 3 * len(METHODS)
    assert max(map(len, lines)) <= 120
    by_name = {line.split()[0]: lines[i : i + 3] for i, line in enumerate(lines) if not line.startswith(" ")}
    assert list(by_name) == list(METHODS)
    assert "FedProx (Li et al. 2020, arXiv 1812.06127)" in by_name["fedprox"][0]
    assert "needs equal architectures, rounds, experts' weights; serves one model" in by_name["fedprox"][2]
    assert "needs real held-back data; serves all clients' models" in by_name["fens"][2]
    assert "needs nothing more" in by_name["mosaic"][2]
    assert "needs vectors of a public encoder; serves one model" in by_name["fedcgs"][2]
    assert "a line to measure against" in by_name["best_local"][0]


def test_the_command_lists_them_as_json(tmp_path: Path) -> None:
    cards = {card["name"]: card for card in json.loads(mosaic("methods", "--json", cwd=tmp_path))}
    assert list(cards) == list(METHODS)
    assert cards["fens"] == {
        "name": "fens",
        "title": "FENS",
        "paper": "Allouah et al. 2024, NeurIPS, arXiv 2405.01420",
        "summary": METHODS["fens"].summary,
        "equal_architectures": False,
        "rounds": False,
        "real_data": True,
        "reference": False,
        "serves": "all clients' models",
        "transfer": "",
        "fuses": False,
        "chooses": False,
        "aggregates": True,
        "robust": True,
        "boosts": False,
        "widths": "",
        "defaults": dict(METHODS["fens"].defaults),
        "requires": [],
        "asks": False,
        "fields": False,
        "images": False,
        "vectors": False,
    }
    assert cards["fedftg"]["requires"] == ["gradients", "weights"]


def test_help_waits_for_no_heavy_import() -> None:
    code = (
        "import sys; from mosaic_fl.cli.main import app; import mosaic_fl.cli.methods; "
        "sys.exit(int('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def result(folder: Path) -> dict[str, Any]:
    """`result.json` without its times."""
    return {k: v for k, v in json.loads((folder / "result.json").read_text()).items() if k != "seconds"}


def run(folder: Path, method: str, out: str, *words: str) -> tuple[dict[str, Any], str]:
    clients = [] if "--clients" in words else ["--clients", "3"]
    base = ["run", "--method", method, *clients, "--alpha", "0.5", *QUICK, "--out", out]
    shown = mosaic(*base, *words, cwd=folder)
    return result(folder / out), shown


@pytest.mark.parametrize("method", ROUNDS)
def test_methods_of_rounds_run_whole(tmp_path: Path, method: str) -> None:
    words = ["--models", "cnn:4", "--rounds", "2", "--set", "rounds.steps=25"]
    figures, shown = run(tmp_path, method, "a", *words, "--workers", "2", "--keep-stages")
    assert run(tmp_path, method, "b", *words, "--workers", "1")[0] == figures
    assert figures["accuracy"] > 0.6
    assert figures["student"] == "cnn:4"
    assert f"{METHODS[method].title} (the one global model)" in shown
    assert (tmp_path / "a" / "global_model.safetensors").exists()
    assert "contributions" not in shown
    assert len(list((tmp_path / "a" / "stages").glob("round-*"))) == 2


@pytest.mark.parametrize("method", ["fedcvae", "best_local"])
def test_one_shot_methods_of_one_model_run_whole(tmp_path: Path, method: str) -> None:
    words = ["--models", "mlp:8,mlp:16", "--student", "cnn:4"]
    if method == "best_local":
        words.append("--centralised")
    else:  # nobody looks at the clients' own models
        words += ["--set", "train.max_steps=2", "--set", "train.min_steps=1", "--clients", "2"]
    figures, shown = run(tmp_path, method, "a", *words, "--workers", "2", "--keep-stages")
    assert run(tmp_path, method, "b", *words, "--workers", "1")[0] == figures
    assert figures["models_served"] == 1
    assert figures["student"] in ({"cnn:4"} if method == "fedcvae" else {"mlp:8", "mlp:16"})
    assert figures["accuracy"] > 0.2
    assert figures["validation_accuracy"] > 0.2
    if method == "best_local":
        assert figures["centralised_accuracy"] > 0.5  # the ceiling is a cnn:4, whatever serves
    assert f"{METHODS[method].title} (the one global model)" in shown
    assert (tmp_path / "a" / "pictures" / "samples.png").exists() == (method == "fedcvae")


@pytest.mark.parametrize("method", ENSEMBLES)
def test_ensembles_run_whole_and_leave_no_global_model(tmp_path: Path, method: str) -> None:
    words = ["--models", "mlp:8,mlp:16", "--student", "cnn:4", "--rounds", "2", "--centralised"]
    figures, shown = run(tmp_path, method, "a", *words, "--workers", "2", "--keep-stages")
    assert run(tmp_path, method, "b", *words, "--workers", "1")[0] == figures
    assert (figures["student"], figures["models_served"]) == (None, 3)
    assert figures["validation_accuracy"] is None  # nobody measured it: not 0
    assert len(figures["local_accuracy"]) == 3
    own = {"mean_logits": "ensemble", "mean_probabilities": "mean_probability", "class_weighted": "class_weighted"}
    if method in own:
        assert figures["accuracy"] == figures[f"{own[method]}_accuracy"]
    assert figures["centralised_accuracy"] > 0.5
    assert f"{METHODS[method].title} (ensemble of 3 models)" in shown
    assert "global" not in shown
    assert not (tmp_path / "a" / "global_model.safetensors").exists()
    assert (tmp_path / "a" / "pictures" / "accuracy.png").exists()
    rounds = list((tmp_path / "a" / "stages").glob("round-*"))
    assert len(rounds) == (2 if method == "fens" else 0)
    again = mosaic("run", str(tmp_path / "a" / "config.toml"), "--out", "a", "--resume", cwd=tmp_path)
    assert "ensemble of 3 models" in again
    assert result(tmp_path / "a") == figures


@pytest.mark.parametrize("method", ["fedftg", "dfrd", "dense", "coboosting"])
def test_a_server_that_makes_images_is_told_of_rows_before_any_client_trains(method: str) -> None:
    data = mosaic_fl.from_table({"a": [value * value * 0.37 for value in range(60)]}, ["no", "yes"] * 30)
    settings = {"partition.clients": 2, "models.clients": ["mlp:4"], "models.student": "mlp:4", "rounds.warm_up": 1}
    config = Config().with_values({**METHODS[method].defaults, **settings, "run.method": method})
    with pytest.raises(UsageError, match="makes images at the server, and these samples are rows of 1 column"):
        prepare(config, Splits("rows", data, data))
