"""FENS: what its aggregator can be, what it learns, who abstains, and what travels."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.client.fusion import train_aggregator
from mosaic_fl.config import Config, MetaConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.engines.tasks import OutputsTask
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.fens import fens
from mosaic_fl.methods.sending import upload_size
from mosaic_fl.models.fusion import Aggregator, load_aggregator
from mosaic_fl.models.inference import accuracy
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
QUICK = {
    "train.max_steps": 40, "train.min_steps": 40, "train.check_every": 20, "generator.family": "none",
    "prototypes.per_class": 0, "run.workers": 1, "rounds.warm_up": 3, "data.validation": 0.2,
}  # fmt: skip


def federation(digits: Dataset, journal: Journal | None = None, **more: object) -> LocalFederation:
    """Two clients with samples to hold back, and one of two samples, which holds nothing back."""
    config = Config().with_values({**QUICK, **{name.replace("_", ".", 1): value for name, value in more.items()}})
    parts = [range(200), range(300, 400), range(500, 502)]
    sites = [Site(k, digits.subset(part), f"mlp:{8 + k}") for k, part in enumerate(parts)]
    return LocalFederation(sites, config, CPU, journal or Journal())


def test_the_aggregator_can_be_the_mean_of_the_logits() -> None:
    """With ReLU(m_c) and ReLU(−m_c) as hidden units of class c, and their difference as its logit."""
    experts, classes = 3, 4
    net = Aggregator(experts, classes, 2 * classes)
    mean = torch.eye(classes).repeat(1, experts) / experts  # (C, K·C)
    with torch.no_grad():
        net.hidden.weight.copy_(torch.cat([mean, -mean]))
        net.exit.weight.copy_(torch.cat([torch.eye(classes), -torch.eye(classes)], 1))
        net.hidden.bias.zero_()
        net.exit.bias.zero_()
    outputs = torch.randn(50, experts, classes, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(net(outputs), outputs.mean(1), atol=1e-6)


def two_experts(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Outputs (n, 2, 4) and labels: expert 0 knows the classes 0 and 1, and takes the others for them, loudly."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (n,), generator=rng)
    right = F.one_hot(labels, 4).float()
    sure = 3 * right * (labels < 2)[:, None] + 3 * F.one_hot(labels % 2, 4) * (labels >= 2)[:, None]
    other = 2 * right * (labels >= 2)[:, None] + 1 * F.one_hot(2 + labels % 2, 4) * (labels < 2)[:, None]
    outputs = torch.stack([sure, other.float()], 1)
    return outputs + 0.3 * torch.randn(outputs.shape, generator=rng), labels


def test_the_aggregator_beats_the_mean_on_data_it_has_not_seen() -> None:
    outputs, labels = two_experts(400, 0)
    with Stream(0, "init").ambient():
        net = Aggregator(2, 4, 16)
    config = MetaConfig(steps=300, lr=1e-2)
    figures = train_aggregator(net, outputs, labels, config, Stream(0, "x"), CPU, Recorder())
    unseen, truth = two_experts(400, 1)
    with torch.no_grad():
        fused = accuracy(net(unseen), truth)
    assert accuracy(unseen.mean(1), truth) < 0.6  # half of the classes drowns
    assert fused > 0.9
    assert figures["samples"] == 400
    assert figures["accuracy"] > 0.95


def test_no_steps_are_one_pass() -> None:
    outputs, labels = two_experts(70, 0)
    for steps, expected in ((0, 3), (5, 5)):
        heard: list[int] = []
        recorder = Recorder("s", 0, lambda stage, client, done, total, heard=heard: heard.append(total))
        config = MetaConfig(batch_size=32).model_copy(update={"steps": steps})
        train_aggregator(Aggregator(2, 4, 4), outputs, labels, config, Stream(0, "x"), CPU, recorder)
        assert heard == [expected] * expected


def test_a_diverging_aggregator_is_a_fault_that_names_its_setting() -> None:
    outputs, labels = two_experts(20, 0)
    with pytest.raises(MosaicError, match="lower meta.lr"):
        train_aggregator(
            Aggregator(2, 4, 4), outputs, labels, MetaConfig(lr=1e38, steps=5), Stream(0, "x"), CPU, Recorder()
        )


def test_weights_of_another_form_are_refused() -> None:
    state = copy_state(Aggregator(2, 4, 8))
    assert load_aggregator(state, 2, 4).hidden.out_features == 8
    with pytest.raises(UsageError, match="aggregator: weight 'hidden.weight'"):
        load_aggregator(state, 3, 4)
    with pytest.raises(UsageError, match="aggregator"):
        load_aggregator({}, 3, 4)


def test_clients_fit_on_their_held_back_samples_and_one_without_abstains(digits: Dataset) -> None:
    with federation(digits) as clients:
        made, state = clients.contribute(), copy_state(Aggregator(3, 10, 6))
        fitted = clients.fit_fusion(made, state, [2, 0], {"steps": 2}, 0)
        again = clients.fit_fusion(made, state, [0, 1], {"steps": 2}, 0)
        other_round = clients.fit_fusion(made, state, [0], {"steps": 2}, 1)[0]
    absent, first = fitted
    assert (absent.client, absent.samples, absent.validation) == (2, 0, {"samples": 0})
    assert all(torch.equal(absent.state[name], state[name]) for name in state)
    assert first.samples == first.validation["samples"] > 30  # about a fifth of 200, class by class
    assert torch.equal(again[0].state["exit.weight"], first.state["exit.weight"])
    assert not torch.equal(other_round.state["exit.weight"], state["exit.weight"])


def test_experts_run_once_a_client_and_set_of_contributions(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    work = OutputsTask.__call__
    monkeypatch.setattr(OutputsTask, "__call__", lambda task, place: (ran.append(task.client), work(task, place))[1])
    with federation(digits) as clients:
        made, state = clients.contribute(), copy_state(Aggregator(3, 10, 6))
        for round in range(3):
            clients.fit_fusion(made, state, [0, 1] if round else [0], {}, round)
        assert ran == [0, 1]
        clients.fit_fusion([replace(c) for c in made], state, [1], {}, 0)
        assert ran == [0, 1, 1]
        assert set(clients._outputs[1]) == {1}  # what it had of the former ones is gone


def test_any_number_of_workers_gives_the_same_ensemble_and_resumes(digits: Dataset, tmp_path: Path) -> None:
    served, samples = [], digits.samples[900:950]
    for workers, rounds, folder in ((1, 3, "a"), (2, 3, "b"), (1, 1, "c"), (2, 3, "c")):
        journal = Journal(tmp_path / folder)
        with federation(digits, journal, run_workers=workers, rounds_warm_up=rounds) as clients:
            served.append(fens(clients, clients.config, CPU, journal).served.logits(samples))
    assert torch.equal(served[0], served[1])
    assert not torch.equal(served[0], served[2])
    assert torch.equal(served[0], served[3])


def test_what_travels_is_every_model_once_and_the_aggregator_every_round(digits: Dataset) -> None:
    journal = Journal()
    with federation(digits) as clients:
        made = clients.contribute()
        outcome = fens(clients, clients.config, CPU, journal)
    experts = [upload_size(c, expert=True, counts=False) for c in made]
    small = len(container.pack("aggregator", {}, copy_state(Aggregator(3, 10, clients.config.meta.width))))
    rounds = [3 * small, 3 * small, 0]  # client 2 abstained
    assert outcome.bytes_up == [a + b for a, b in zip(experts, rounds, strict=True)]
    # And in the end, to all, what serves: the others' models are there, the aggregator is new.
    assert outcome.bytes_down == [sum(experts) - a + b + small for a, b in zip(experts, rounds, strict=True)]
    assert (outcome.model, outcome.models_served) == (None, 3)
    assert outcome.served.logits(digits.samples[:5]).shape == (5, 10)
    assert journal.done["round-0002"].info == {"participants": [0, 1]}
    assert {"fitted_loss", "fitted_accuracy"} < journal.done["round-0000"].metrics[0].keys()


def test_without_held_back_samples_there_is_nothing_to_learn_from(digits: Dataset) -> None:
    with pytest.raises(UsageError, match="data.validation is 0"):
        METHODS["fens"].check(Config().with_values({"data.validation": 0}), digits.schema, ["mlp:8"], "mlp:8")
    with federation(digits, data_validation=0.01) as clients, pytest.raises(MosaicError, match="now 0.01"):
        fens(clients, clients.config, CPU, Journal())
