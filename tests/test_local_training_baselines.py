"""FedProx, FedRS and FedBN: each is FedAvg where its idea has nothing to say, and what it says elsewhere."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.fedbn import fedbn, merged_normalisation, normalisation_entries
from mosaic_fl.methods.fedprox import fedprox
from mosaic_fl.methods.fedrs import fedrs
from mosaic_fl.methods.outcome import Method, Outcome
from mosaic_fl.models import build, trust
from mosaic_fl.numerics.states import State
from mosaic_fl.storage import container
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
NORM = {"body.1.weight", "body.1.bias", "body.1.running_mean", "body.1.running_var", "body.1.num_batches_tracked"}


def sites(digits: Dataset, architecture: str) -> list[Site]:
    """Two clients of 60 and 40 samples; the first lacks the classes 5 to 9."""
    few = (digits.labels < 5).nonzero().flatten()[:60]
    return [Site(0, digits.subset(few), architecture), Site(1, digits.subset(range(500, 540)), architecture)]


def run(method: Method, digits: Dataset, architecture: str = "mlp:8", rounds: int = 2, **train: float) -> Outcome:
    values = {f"train.{name}": value for name, value in {"check_every": 5, **train}.items()}
    more = {"rounds.warm_up": rounds, "rounds.steps": 10, "run.workers": 1}
    config, journal = Config().with_values({**values, **more}), Journal()
    with LocalFederation(sites(digits, architecture), config, CPU, journal) as federation:
        return method(federation, config, CPU, journal)


def state(outcome: Outcome) -> State:
    assert outcome.model is not None
    return outcome.model.state


def same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("method", "neutral", "far"),
    [(fedprox, {"proximal": 0.0}, {"proximal": 5.0}), (fedrs, {"absent": 1.0}, {"absent": 0.5})],
)
def test_a_neutral_setting_is_fedavg_and_another_is_not(
    digits: Dataset, method: Method, neutral: dict[str, float], far: dict[str, float]
) -> None:
    average = run(fedavg, digits)
    assert same(state(run(method, digits, **neutral)), state(average))
    there = run(method, digits, **far)
    assert not same(state(there), state(average))
    assert (there.bytes_up, there.bytes_down) == (average.bytes_up, average.bytes_down)


def test_a_strong_proximal_term_keeps_the_model_where_it_was(digits: Dataset) -> None:
    moves = []
    for proximal in (0.0, 100.0):
        config = Config().with_values({"train.proximal": proximal, "run.workers": 1, "rounds.steps": 10})
        with LocalFederation(sites(digits, "mlp:8"), config, CPU, Journal()) as federation:
            start = spied(federation)
            end = state(fedprox(federation, config, CPU, Journal()))
        begin = start[0][0].state
        weights = [name for name in begin if name.endswith((".weight", ".bias"))]
        moves.append(sum(float((end[name] - begin[name]).square().sum()) for name in weights))
    assert moves[1] < moves[0] / 2


def test_restricted_softmax_spares_the_rows_of_absent_classes(digits: Dataset) -> None:
    """Client 0 has no samples of 5 to 9: with α = 0 nothing but weight decay moves their biases."""
    moved = []
    for absent in (1.0, 0.0):
        config = Config().with_values({"train.absent": absent, "train.weight_decay": 0, "run.workers": 1})
        with LocalFederation(sites(digits, "mlp:8")[:1], config, CPU, Journal()) as federation:
            jobs = spied(federation)
            end = state(fedrs(federation, config, CPU, Journal()))
        moved.append((end["head.bias"] - jobs[0][0].state["head.bias"])[5:].abs())
    assert float(moved[0].min()) > 0.01
    assert float(moved[1].max()) == 0


@pytest.mark.parametrize(
    ("name", "setting", "says"), [("fedprox", "train.proximal", "0.01"), ("fedrs", "train.absent", "0.5")]
)
def test_a_setting_that_makes_it_fedavg_is_refused_and_the_papers_is_the_default(
    name: str, setting: str, says: str
) -> None:
    card = METHODS[name]
    assert {key: str(value) for key, value in card.defaults.items()} == {setting: says}
    schema = image_schema((1, 8, 8), ("a", "b"))
    card.check(Config().with_values(dict(card.defaults)), schema, ["mlp:8"], "mlp:8")
    with pytest.raises(UsageError, match=f"{setting} is .* the paper has {says}, or say --method fedavg"):
        card.check(Config(), schema, ["mlp:8"], "mlp:8")


def test_fedbn_without_normalisation_is_fedavg(digits: Dataset) -> None:
    plain = trust(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)))
    own, average = run(fedbn, digits, plain), run(fedavg, digits, plain)
    assert normalisation_entries(build(plain, digits.schema)) == set()
    assert same(state(own), state(average))
    assert own.bytes_up == average.bytes_up


def test_normalisation_is_known_by_its_type_not_by_its_name() -> None:
    net = nn.ModuleDict({
        "convolution": nn.BatchNorm2d(2), "a": nn.GroupNorm(1, 2), "b": nn.ModuleList([nn.LayerNorm(2)]),
        "batchnorm": nn.Linear(2, 2), "c": nn.InstanceNorm2d(2), "d": nn.RMSNorm(2),
    })  # fmt: skip
    statistics = {f"convolution.{key}" for key in ("running_mean", "running_var", "num_batches_tracked")}
    weights = {f"{name}.{key}" for name in ("convolution", "a", "b.0") for key in ("weight", "bias")}
    assert normalisation_entries(net) == statistics | weights | {"d.weight"}


def spied(federation: LocalFederation) -> list[list[FitJob]]:
    """The jobs that the federation is given from now on, a list a round."""
    jobs: list[list[FitJob]] = []
    fit: Callable[[Sequence[FitJob], int], list[Fitted]] = federation.fit

    def remember(given: Sequence[FitJob], round: int) -> list[Fitted]:
        jobs.append(list(given))
        return fit(given, round)

    federation.fit = remember  # type: ignore[method-assign]
    return jobs


def test_fedbn_clients_share_all_but_their_normalisation(digits: Dataset) -> None:
    config = Config().with_values({"rounds.warm_up": 2, "rounds.steps": 10, "run.workers": 1})
    with LocalFederation(sites(digits, "cnn:2:1"), config, CPU, Journal()) as federation:
        jobs = spied(federation)
        outcome = fedbn(federation, config, CPU, Journal())
    assert normalisation_entries(build("cnn:2:1", digits.schema)) == NORM
    assert same(jobs[0][0].state, jobs[0][1].state)
    first, second = (job.state for job in jobs[1])
    for name in first:
        counter = name.endswith("tracked")  # both did ten steps
        assert torch.equal(first[name], second[name]) == (name not in NORM or counter), name
    # Only what is shared travels, in two rounds. Of the rest the mean serves: it goes up once, and down in the result.
    assert outcome.model is not None
    shared, rest = (
        {name: tensor for name, tensor in state(outcome).items() if (name in NORM) == own} for own in (False, True)
    )
    rounds = 2 * len(GlobalModel("cnn:2:1", digits.schema, shared).to_bytes())
    assert outcome.bytes_up == [rounds + len(container.pack("normalisation", {}, rest))] * 2
    assert outcome.bytes_down == [rounds + len(outcome.model.to_bytes())] * 2


class Adding:
    """Three clients whose training adds their number plus one to every weight; they have 10, 20 and 30 samples."""

    schema, architectures = image_schema((1, 8, 8), ("a", "b")), ["cnn:1:1"] * 3

    def __init__(self) -> None:
        self.asked: list[set[int]] = []

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        self.asked.append({job.client for job in jobs})
        return [
            Fitted(j.client, {n: t + j.client + 1 for n, t in j.state.items()}, 10 * (j.client + 1), {}) for j in jobs
        ]

    def evaluate(self, architecture: str, state: State) -> list[Tensor]:
        return [torch.eye(2, dtype=torch.int64)] * 3

    def contribute(self, start: object = None) -> list[Contribution]:
        raise NotImplementedError


def test_fedbn_two_rounds_by_hand() -> None:
    federation = Adding()
    with_two = Config().with_values({"rounds.warm_up": 2})
    end = state(fedbn(federation, with_two, CPU, Journal()))
    # Shared weights grow by (10·1 + 20·2 + 30·3)/60 = 7/3 a round; a client's own by 1, 2, 3, whose mean is the same.
    assert torch.allclose(end["body.1.bias"], torch.tensor([14 / 3]))
    assert torch.allclose(end["body.1.weight"], torch.tensor([1 + 14 / 3]))
    assert int(end["body.1.num_batches_tracked"]) == 6  # the largest


def test_a_client_that_never_took_part_has_no_say_in_what_is_served() -> None:
    federation = Adding()
    end = state(fedbn(federation, Config().with_values({"rounds.participation": 0.3}), CPU, Journal()))
    (one,) = federation.asked[0]
    assert torch.equal(end["body.1.bias"], torch.tensor([one + 1.0]))
    own = {0: {"w": torch.tensor([1.0])}, 1: {"w": torch.tensor([4.0])}, 2: {"w": torch.tensor([99.0])}}
    assert merged_normalisation(own, {0: 10, 1: 20, 2: 0}, Config().rounds)["w"].item() == 3.0


def test_fedbn_goes_on_where_it_was(digits: Dataset, tmp_path: Path) -> None:
    def after(rounds: int, folder: str) -> State:
        config = Config().with_values({"rounds.warm_up": rounds, "rounds.steps": 5, "run.workers": 1})
        journal = Journal(tmp_path / folder)
        with LocalFederation(sites(digits, "cnn:2:1"), config, CPU, journal) as federation:
            return state(fedbn(federation, config, CPU, journal))

    whole = after(3, "whole")
    after(1, "parts")
    assert same(after(3, "parts"), whole)
