"""What a run says of clients that were away: their place is kept, and empty."""

import json
from functools import partial
from pathlib import Path

import pytest

from command import mosaic
from faulty import QUICK, FaultyFederation, everywhere, three
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.report.pictures import accuracy_picture
from mosaic_fl.report.tables import rows

SETTINGS = [
    word
    for name, value in QUICK.items()
    if name not in ("run.workers", "rounds.warm_up", "models.student")
    for word in ("--set", f"{name}={value}")
]


@pytest.mark.parametrize("method", ["mosaic", "mean_logits", "fedavg"])
def test_a_run_without_a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr("mosaic_fl.runs.runner.LocalFederation", partial(FaultyFederation, lost=everywhere(1)))
    words = ["--models", "mlp:4:1", "--student", "mlp:4:1", "--clients", "3", "--alpha", "100", "--workers", "1"]
    shown = mosaic("run", "--method", method, *words, *SETTINGS, "--out", "a", cwd=tmp_path)
    figures = json.loads((tmp_path / "a" / "result.json").read_text())
    assert len(figures["samples"]) == len(figures["models"]) == len(figures["bytes_up"]) == figures["clients"] == 3
    assert figures["bytes_up"][1] == 0
    assert [accuracy is None for accuracy in figures["local_accuracy"]] == (
        [] if method == "fedavg" else [False, True, False]
    )
    if method != "fedavg":
        (line,) = (line for line in shown.splitlines() if "client 1" in line)
        assert line.split()[-1] == "–"
    if method == "mosaic":
        assert figures["generators"][1] == "none (no contribution)"
        assert "Generators: 1 × none (no contribution)" in shown
    assert (tmp_path / "a" / "pictures" / "accuracy.png").exists()


def test_nobody_to_evaluate_is_no_validation_accuracy_in_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = [("evaluate", 0, None), ("evaluate", 1, None)]
    monkeypatch.setattr("mosaic_fl.runs.runner.LocalFederation", partial(FaultyFederation, lost=lost))
    words = ["--method", "fedavg", "--models", "mlp:4:1", "--clients", "2", "--alpha", "100", *SETTINGS]
    mosaic("run", *words, "--out", "a", cwd=tmp_path)
    assert json.loads((tmp_path / "a" / "result.json").read_text())["validation_accuracy"] is None


def test_distilled_files_are_those_of_their_clients(tmp_path: Path, digits: Dataset) -> None:
    """Of the clients 0 and 2 the table says so, not 0 and 1."""
    with three(digits) as federation:
        made = federation.contribute()
    for k in (0, 2):
        (tmp_path / f"{k}.contribution").write_bytes(made[k].to_bytes())
    mosaic("distill", "0.contribution", "2.contribution", *SETTINGS, "--out", "a", cwd=tmp_path)
    figures = json.loads((tmp_path / "a" / "result.json").read_text())
    assert figures["contributors"] == [0, 2]
    named = [label for label, _ in rows({**figures, "local_accuracy": [0.5, 0.25]})[:2]]
    assert named == ["client 0 · mlp:4:1", "client 2 · mlp:4:1"]


def test_many_accuracies_with_gaps_are_a_picture(tmp_path: Path) -> None:
    result = {"accuracy": 0.9, "local_accuracy": [None, 0.5] * 10, "method": "mosaic"}
    accuracy_picture(rows(result), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 0
    assert [value for _, value in rows(result)[:20]] == [None, 0.5] * 10
