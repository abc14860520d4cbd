"""Attacks in simulations: every method meets them, and what cannot touch a method is told before any work."""

from pathlib import Path

import pytest

from command import fails
from mosaic_fl import compare, run
from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_one_exchange
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError

SHORT = {
    "partition.clients": 3, "partition.alpha": 1.0, "models.student": "cnn:4", "models.clients": ["cnn:4"],
    "train.min_steps": 40, "train.max_steps": 40, "generator.steps": 5, "distill.steps": 20, "distill.pool": 200,
    "meta.steps": 5, "run.workers": 1,
}  # fmt: skip


def test_an_attack_in_rounds(digits: Dataset) -> None:
    """A reversed update is no update: the model of one round stays near chance, for any number of workers."""
    values = SHORT | {"partition.split": "iid", "rounds.warm_up": 1}
    honest = run("fedavg", digits, settings=values).result
    assert "attack" not in honest
    liars = [
        run("fedavg", digits, settings=values | {"run.attack": "reversed_update:2", "run.workers": n}).result
        for n in (1, 2)
    ]
    assert liars[0]["accuracy"] == liars[1]["accuracy"] < honest["accuracy"] - 0.2
    assert liars[0]["attack"]["liars"] == [1, 2]
    assert "clients 1, 2 lie (reversed_update)" in liars[0]["attack"]["words"]


def test_a_comparison_says_what_an_attack_cannot_touch(digits: Dataset) -> None:
    values = {k: v for k, v in SHORT.items() if not k.startswith(("partition.clients", "partition.alpha"))}
    rows = compare(
        ["fedavg", "mean_logits"], digits, clients=3, alphas=[1.0], settings=values | {"run.attack": "inflated"}
    )
    assert [row["status"] for row in rows] == ["cannot", "done"]
    assert rows[0]["reason"] == "attack inflated changes contributions, and FedAvg has none: take another attack"


@pytest.mark.parametrize(
    ("attack", "more", "words"),
    [
        ("loud", {"models.clients": ["random_forest"]}, "'random_forest' is none"),
        ("generator_blank", {"generator.family": "none"}, "Mosaic uses none here"),
        ("moments_flip", {}, "say --moments NAME"),
        ("loud:3", {}, "at most 2 can lie"),
        ("reversed_update", {}, "changes updates of rounds, and Mosaic has none"),
        ("nonsense", {}, "unknown attack 'nonsense': known are label_flip"),
    ],
)
def test_wrong_attacks_of_a_run(digits: Dataset, attack: str, more: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run("mosaic", digits, settings=SHORT | more | {"run.attack": attack})


def test_real_clients_have_no_attack() -> None:
    with pytest.raises(UsageError, match="simulation"):
        check_one_exchange(Config().with_values({"run.attack": "loud"}))


def test_the_command_names_the_attacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(capsys, "run", "--attack", "lout", "--out", tmp_path / "run")
    assert "unknown attack 'lout': known are label_flip," in error


def test_a_deployment_has_no_attack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fails(capsys, "deploy", "server", "--clients", "2", "--set", "run.attack=loud", "--out", tmp_path / "run")
    assert "attacks are of a simulation alone" in error
