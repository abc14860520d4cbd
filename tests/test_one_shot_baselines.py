"""The reference lines and FedCVAE-Ens: what is chosen by what, what is served, what is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.fedcvae import fedcvae
from mosaic_fl.methods.outcome import Method
from mosaic_fl.methods.references import best_local, class_weighted, mean_logits, mean_probabilities
from mosaic_fl.methods.sending import sizes_of_others, upload_size
from mosaic_fl.numerics.states import State
from mosaic_fl.server.pool import Pool, Sampler
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
QUICK = {
    "train.max_steps": 30, "train.min_steps": 30, "train.check_every": 15, "generator.family": "cvae",
    "generator.steps": 400, "generator.width": 8, "generator.perceptual": 0.0, "prototypes.per_class": 0,
    "run.workers": 1,
    "distill.pool": 600, "distill.steps": 200, "models.student": "mlp:16",
}  # fmt: skip


@pytest.fixture(scope="module")
def clients(digits: Dataset) -> LocalFederation:
    """Two clients, of the digits 0 to 4 and 5 to 9; the second has half as many samples."""
    low, high = ((digits.labels < 5) == small for small in (True, False))
    parts = [low.nonzero().flatten()[:200], high.nonzero().flatten()[:100]]
    sites = [Site(k, digits.subset(part), f"mlp:{8 + k}") for k, part in enumerate(parts)]
    return LocalFederation(sites, Config().with_values(QUICK), CPU, Journal())


@pytest.fixture(scope="module")
def made(clients: LocalFederation) -> list[Contribution]:
    return clients.contribute()


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two states hold the very same tensors."""
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)


@dataclass
class Scoring:
    """Clients that have contributed already, and say how many of 10 samples each of their models gets right."""

    made: list[Contribution]
    right: list[int] = field(default_factory=lambda: [5, 5])

    @property
    def schema(self) -> Schema:
        return self.made[0].schema

    @property
    def architectures(self) -> list[str]:
        return [c.architecture for c in self.made]

    def contribute(self, start: object = None) -> list[Contribution]:
        return self.made

    def evaluate(self, architecture: str, state: State, clients: Sequence[int] | None = None) -> list[Tensor]:
        (k,) = (i for i, c in enumerate(self.made) if same(c.expert, state))
        assert architecture == self.made[k].architecture
        counts = torch.tensor([[self.right[k], 10 - self.right[k]], [0, 0]])
        return [counts, torch.zeros(2, 2, dtype=torch.int64)]


@pytest.mark.parametrize(("right", "best"), [([3, 8], 1), ([8, 3], 0), ([4, 4], 0)])
def test_the_best_local_model_is_best_on_all_clients_validation_splits(
    made: list[Contribution], right: list[int], best: int
) -> None:
    """What each client says of its own model plays no part."""
    boasting = [replace(c, validation={"samples": 9, "accuracy": 1.0 - k, "loss": k}) for k, c in enumerate(made)]
    journal = Journal()
    outcome = best_local(Scoring(boasting, right), Config(), CPU, journal)
    assert outcome.model is not None
    assert same(boasting[best].expert, outcome.model.state)
    assert outcome.model.architecture == f"mlp:{8 + best}"
    assert journal.done["choice"].info["validation"] == pytest.approx([right[0] / 10, right[1] / 10])
    sizes = [upload_size(c, expert=True, counts=False) for c in boasting]
    assert (outcome.bytes_up, outcome.bytes_down) == (sizes, sizes[::-1])


def test_best_local_needs_something_to_choose_by(digits: Dataset) -> None:
    with pytest.raises(UsageError, match="data.validation is 0"):
        METHODS["best_local"].check(Config().with_values({"data.validation": 0}), digits.schema, ["mlp:8"], "mlp:8")


@pytest.mark.parametrize("method", [mean_logits, mean_probabilities, class_weighted])
def test_an_ensemble_fuses_all_models_by_its_own_rule(
    made: list[Contribution], digits: Dataset, method: Method
) -> None:
    outcome, images = method(Scoring(made), Config(), CPU, Journal()), digits.samples[1500:1540]
    assert (outcome.model, outcome.models_served) == (None, 2)
    assert outcome.ensemble is not None
    outputs = outcome.ensemble.mixture.outputs(images)
    p = outputs.softmax(2)
    # Nobody but client 0 holds the classes 0 to 4, so that its word counts for them alone.
    weighted = torch.cat([p[:, 0, :5], p[:, 1, 5:]], 1)
    expected = {
        mean_logits: outputs.mean(1).softmax(1),
        mean_probabilities: (p[:, 0] + p[:, 1]) / 2,
        class_weighted: weighted / weighted.sum(1, keepdim=True),
    }[method]
    assert torch.allclose(outcome.served.logits(images).softmax(1), expected, atol=1e-5)


def test_ensembles_send_models_alone_and_class_weights_their_counts_too(made: list[Contribution]) -> None:
    plain, weighted = (m(Scoring(made), Config(), CPU, Journal()) for m in (mean_logits, class_weighted))
    assert all(0 < b - a < 200 for a, b in zip(plain.bytes_up, weighted.bytes_up, strict=True))
    assert all(a < len(c.to_bytes()) for a, c in zip(weighted.bytes_up, made, strict=True))
    assert plain.bytes_down == sizes_of_others(plain.bytes_up) == plain.bytes_up[::-1]
    assert sizes_of_others([1, 20, 300]) == [320, 301, 21]


def test_fedcvae_of_one_client_is_its_classes_learnt_from_its_decoder(
    made: list[Contribution], digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student never sees an expert, and all that it knows are the classes that were decoded."""
    monkeypatch.setattr(Contribution, "build_expert", lambda self: pytest.fail("an expert was asked"))
    broken = replace(made[0], expert={name: torch.zeros_like(tensor) for name, tensor in made[0].expert.items()})
    config = Config().with_values(QUICK)
    first, second = (fedcvae(Scoring([c]), config, CPU, Journal()) for c in (made[0], broken))
    assert first.model is not None
    assert second.model is not None
    assert first.model.architecture == "mlp:16"
    assert all(torch.equal(first.model.state[name], second.model.state[name]) for name in first.model.state)
    here = digits.subset((digits.labels[1000:] < 5).nonzero().flatten() + 1000)
    right = first.model.predict(here.images) == here.labels
    assert float(right.float().mean()) > 0.75  # of five classes: a fifth is chance
    assert int(first.model.predict(digits.images[1000:]).max()) < 5


def test_fedcvae_sends_decoder_and_counts_and_no_expert(made: list[Contribution]) -> None:
    outcome = fedcvae(Scoring(made), Config().with_values(QUICK), CPU, Journal())
    assert outcome.model is not None
    networks = [{k: t for k, t in (c.generator or {}).items() if "density" not in k} for c in made]
    decoders = [sum(t.numel() * t.element_size() for t in network.values()) for network in networks]
    counts = 10 * 8
    assert all(0 < up - size - counts < 3000 for up, size in zip(outcome.bytes_up, decoders, strict=True))
    without = replace(made[0], expert={}, architecture="no matter", generator=networks[0])
    assert upload_size(without, expert=False, generator=True) == outcome.bytes_up[0]
    assert outcome.bytes_down == [len(outcome.model.to_bytes())] * 2


def test_fedcvae_asks_every_decoder_alike_for_its_own_labels(
    made: list[Contribution], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the pool from each, whatever their sizes (200 and 100 samples); evenly by class if so wished."""
    pools: list[Pool] = []
    for name in ("draw", "draw_as_they_come"):
        real = getattr(Sampler, name)
        monkeypatch.setattr(Sampler, name, lambda *a, real=real: pools.append(real(*a)) or pools[-1])
    config = Config().with_values(
        {**QUICK, "distill.steps": 1, "distill.prior": "procedural", "distill.balanced": False}
    )
    fedcvae(Scoring(made), config, CPU, Journal())
    (pool,) = pools
    assert torch.bincount(pool.sources).tolist() == [300, 300]
    assert torch.equal(pool.labels >= 5, pool.sources == 1)


def test_fedcvae_needs_conditional_vaes(made: list[Contribution]) -> None:
    card = METHODS["fedcvae"]
    schema = made[0].schema
    card.check(Config().with_values(dict(card.defaults)), schema, ["mlp:8"], "mlp:8")
    with pytest.raises(UsageError, match="not dcgan: --generator cvae"):
        card.check(Config().with_values({"generator.family": "dcgan"}), schema, ["mlp:8"], "mlp:8")
    silent = [replace(c, generator=None, generator_spec=None, generator_note="too few") for c in made]
    with pytest.raises(UsageError, match="no contribution has a generator"):
        fedcvae(Scoring(silent), Config().with_values(QUICK), CPU, Journal())
