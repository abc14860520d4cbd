"""`rounds.aggregate` in methods: a liar among the clients, too few answers, and settings that guard nothing."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import FitJob, Fitted
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.averaging import averaging_rounds
from mosaic_fl.methods.fedbn import merged_normalisation
from mosaic_fl.methods.merging import merged, weighted_average
from mosaic_fl.methods.mosaic import check_groups
from mosaic_fl.models import build
from mosaic_fl.notes import Note
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.storage.journal import Journal
from rounds import CPU, QUICK

LIAR = 2


class Lying(LocalFederation):
    """Client 2 of five answers with its weights times 10⁶, and claims a billion samples."""

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """As the local engine, but for the liar."""
        return [lie(f) if f.client == LIAR else f for f in super().fit(jobs, round)]


def lie(fitted: Fitted) -> Fitted:
    state = {name: tensor * 10**6 if tensor.is_floating_point() else tensor for name, tensor in fitted.state.items()}
    return replace(fitted, state=state, samples=10**9)


def largest(method: str, digits: Dataset, rule: str) -> float:
    """The largest of all weights and statistics after one round."""
    values = {**QUICK, "rounds.warm_up": 1, "rounds.aggregate": rule, "partition.clients": 5}
    config = Config().with_values({"run.method": method, **METHODS[method].defaults, **values})
    METHODS[method].check_settings(config)
    sites = [Site(k, digits.subset(range(100 * k, 100 * k + 40)), "cnn:4:1") for k in range(5)]
    with Lying(sites, config, CPU, Journal()) as federation:
        outcome = METHODS[method].run(federation, config, CPU, Journal())
    assert outcome.model is not None
    floats = [tensor for tensor in outcome.model.state.values() if tensor.is_floating_point()]
    return max(float(tensor.abs().max()) for tensor in floats)


@pytest.mark.parametrize("rule", ["median", "trimmed", "krum", "geometric_median"])
def test_a_liar_moves_the_mean_and_no_rule(digits: Dataset, rule: str) -> None:
    assert largest("fedavg", digits, rule) < 100
    if rule == "median":
        assert largest("fedavg", digits, "mean") > 10**5


@pytest.mark.parametrize("method", ["fedbn", "fedgen", "fedftg"])
def test_other_methods_with_an_average_follow_the_rule(digits: Dataset, method: str) -> None:
    assert largest(method, digits, "krum") < 100


def fitted(client: int, value: float, samples: int = 10) -> Fitted:
    return Fitted(client, {"w": torch.tensor([value])}, samples, {})


def test_the_mean_is_as_without_a_rule() -> None:
    answers = [fitted(k, 0.1 * k, 7 * k + 1) for k in range(5)]
    plain = merged(answers, {}, Config().rounds)
    assert torch.equal(plain["w"], weighted_average(answers)["w"])


def test_too_few_answers_change_nothing_and_say_so() -> None:
    before: State = {"w": torch.tensor([5.0])}
    rounds = Config().with_values({"rounds.aggregate": "krum"}).rounds
    with pytest.warns(Note, match="4 clients answered, and rounds.aggregate = krum takes 5 to stand 1"):
        assert merged([fitted(k, 1.0) for k in range(4)], before, rounds) is before
    assert float(merged([fitted(k, 1.0) for k in range(5)], before, rounds)["w"]) == 1


def test_a_group_without_enough_answers_keeps_its_weights(digits: Dataset) -> None:
    config = Config().with_values({**QUICK, "rounds.aggregate": "median"})
    sites = [Site(k, digits.subset(range(50 * k, 50 * k + 40)), "mlp:4:1") for k in range(2)]
    with Lying(sites, config, CPU, Journal()) as federation:
        model = copy_state(build("mlp:4:1", federation.schema))
        groups = {0: "mlp:4:1", 1: "mlp:4:1"}
        with pytest.warns(Note, match="2 clients answered"):
            states = averaging_rounds(federation, groups, {"mlp:4:1": model}, range(1), config.rounds, 0, Journal())
    assert all(torch.equal(states["mlp:4:1"][name], tensor) for name, tensor in model.items())


def test_normalisation_of_too_few_clients_is_their_median() -> None:
    rounds = Config().with_values({"rounds.aggregate": "krum"}).rounds
    own = {k: {"w": torch.tensor([value])} for k, value in enumerate((1.0, 3.0, 1e9, 7.0))}
    assert float(merged_normalisation(own, {0: 5, 1: 5, 2: 10**6, 3: 0}, rounds)["w"]) == 3  # client 3 never answered


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("fedavg", {"partition.clients": 6, "rounds.aggregate": "krum"}, "stands 2 liars among 7 clients, and a round"),
        ("fedavg", {"rounds.participation": 0.4, "rounds.aggregate": "median"}, "1 liar among 3 clients, .* has 2"),
        ("dense", {"rounds.aggregate": "median"}, "DENSE averages no weights"),
        ("federated_xgboost", {"rounds.aggregate": "median"}, "averages no weights"),
        ("heterofl", {"rounds.aggregate": "median"}, "is for whole models"),
        ("mosaic", {"rounds.aggregate": "median", "rounds.kind": "fedrolex"}, "is for whole models"),
    ],
)
def test_a_rule_that_would_guard_nothing_is_refused(method: str, settings: dict[str, object], message: str) -> None:
    config = Config().with_values({"run.method": method, **METHODS[method].defaults, **settings})
    with pytest.raises(UsageError, match=message):
        METHODS[method].check_settings(config)


def test_each_group_of_mosaic_needs_enough_clients() -> None:
    config = Config().with_values({"rounds.warm_up": 1, "rounds.aggregate": "median"})
    check_groups(config, ["cnn:16"])
    with pytest.raises(UsageError, match="among 3 clients, and a round has 2 of mlp:64"):
        check_groups(config, ["cnn:16", "mlp:64"])
