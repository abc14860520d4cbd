from pathlib import Path

import pytest
import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import Fitted
from mosaic_fl.methods.averaging import (
    local_settings,
    participants,
    shared_architecture,
    validation_accuracy,
)
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.merging import weighted_average
from mosaic_fl.storage.journal import Journal


def fitted(client: int, samples: int, weight: float, batches: int) -> Fitted:
    return Fitted(
        client, {"w": torch.tensor([weight, 1.0]), "n": torch.tensor(batches)}, samples, {}, torch.tensor([samples])
    )


def test_the_average_weighs_clients_by_their_samples() -> None:
    average = weighted_average([fitted(0, 30, 1.0, 5), fitted(1, 10, 5.0, 9)])
    assert torch.equal(average["w"], torch.tensor([2.0, 1.0]))  # (30·1 + 10·5)/40
    assert int(average["n"]) == 9


def test_equal_weights_stay_equal() -> None:
    same = [fitted(k, samples, 0.1, 1) for k, samples in enumerate((1, 7, 1000))]
    assert torch.equal(weighted_average(same)["w"], same[0].state["w"])


def test_a_round_moves_a_model_both_ways_and_the_result_once_more(digits: Dataset) -> None:
    sites = [Site(k, digits.subset(range(50 * k, 50 * k + 40)), "mlp:4:1") for k in range(2)]
    config = Config().with_values({"rounds.warm_up": 3, "rounds.steps": 1, "run.workers": 1})
    with LocalFederation(sites, config, torch.device("cpu"), Journal()) as federation:
        outcome = fedavg(federation, config, torch.device("cpu"), Journal())
    assert outcome.model is not None
    size = len(outcome.model.to_bytes())
    assert (outcome.bytes_up, outcome.bytes_down) == ([3 * size] * 2, [4 * size] * 2)


def test_different_architectures_cannot_be_averaged() -> None:
    assert shared_architecture(["cnn:8", "cnn:8"], "fedavg") == "cnn:8"
    with pytest.raises(UsageError, match="one architecture, not cnn:8, mlp:8"):
        shared_architecture(["mlp:8", "cnn:8"], "fedavg")


def test_rounds_have_an_optimiser_of_their_own_unless_told_to_train_as_always() -> None:
    config = Config().rounds
    assert local_settings(config) == {"optimiser": "sgd", "lr": 0.01}
    train = config.model_copy(update={"optimiser": "train", "steps": 7})
    assert local_settings(train) == {"min_steps": 7, "max_steps": 7}
    assert local_settings(config, several_widths=True) == {}  # of several widths: as [train] says
    asked = config.model_copy(update={"optimiser": "adamw", "lr": 0.5})
    assert local_settings(asked) == local_settings(asked, several_widths=True) == {"optimiser": "adamw", "lr": 0.5}


def test_federated_validation_by_hand() -> None:
    # 8 of 10 right at one client, 1 of 2 at the other: 9 of 12; no samples anywhere: nobody has said anything.
    first, second = torch.tensor([[5, 1], [1, 3]]), torch.tensor([[1, 0], [1, 0]])
    assert validation_accuracy([first, second]) == pytest.approx(0.75)
    assert validation_accuracy([torch.zeros(2, 2, dtype=torch.int64), second]) == pytest.approx(0.5)
    assert validation_accuracy([torch.zeros(2, 2, dtype=torch.int64)]) is None
    assert validation_accuracy([]) is None


def test_participants_are_a_share_drawn_anew() -> None:
    clients = list(range(10))
    drawn = [participants(clients, 0.3, 0, r) for r in range(20)]
    assert all(len(set(d)) == 3 and d == sorted(d) for d in drawn)
    assert len({tuple(d) for d in drawn}) > 5
    assert set().union(*drawn) == set(clients)
    assert participants(clients, 1.0, 0, 0) == clients
    assert len(participants(clients, 0.001, 0, 0)) == 1


def test_a_resumed_run_goes_on_from_the_latest_round_which_alone_keeps_its_weights(
    digits: Dataset, tmp_path: Path
) -> None:
    quick = {"train.max_steps": 5, "train.min_steps": 5, "run.workers": 1}
    sites = [Site(k, digits.subset(range(50 * k, 50 * k + 40)), "mlp:4:1") for k in range(2)]

    def after(rounds: int, folder: Path) -> torch.Tensor:
        config = Config().with_values({**quick, "rounds.warm_up": rounds})
        journal = Journal(folder)
        with LocalFederation(sites, config, torch.device("cpu"), journal) as federation:
            return fedavg(federation, config, torch.device("cpu"), journal).model.state["head.weight"]

    whole = after(4, tmp_path / "whole")
    after(2, tmp_path / "parts")
    assert torch.equal(after(4, tmp_path / "parts"), whole)
    kept = Journal(tmp_path / "whole")
    assert [bool(stage.tensors) for r in range(4) if (stage := kept.recall(f"round-{r:04d}"))] == [False] * 3 + [True]
