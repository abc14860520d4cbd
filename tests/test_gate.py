"""The gate on sources: p(y|x) = Σ_k p(k|x)·p_k(y|x), where p(k|x) is learnt on generators' samples."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_teacher
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples, to_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.forecast.server import Contributor, distillation
from mosaic_fl.notes import Note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.registries import KINDS
from mosaic_fl.server.distill import distill
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.gate import SourceTrees, gate_state, gated, load_gate
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.teachers import Teachers
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
QUICK = {"train.max_steps": 60, "train.min_steps": 60, "distill.steps": 40, "distill.pool": 400, "distill.terms": 1}
ROWS = {**QUICK, "generator.family": "normal", "distill.gate_samples": 1200, "distill.teacher": "gate"}


def test_the_law_of_total_probability_by_hand() -> None:
    # 0.25·(0.8, 0.2) + 0.75·(0.4, 0.6) = (0.5, 0.5)
    outputs = torch.tensor([[[0.8, 0.2], [0.4, 0.6]]]).log() + 3.0  # logits: a constant a row says nothing
    shares = torch.tensor([[0.25, 0.75]]).log()
    assert torch.allclose(gated(outputs, shares).exp(), torch.tensor([[0.5, 0.5]]), atol=1e-6)


def test_experts_of_one_class_are_told_apart_by_the_gate_alone() -> None:
    """Each is sure of its own class on every sample: what the gate says of sources is the answer on classes."""
    outputs = torch.tensor([[[50.0, 0.0], [0.0, 50.0]]]).expand(3, 2, 2)
    shares = torch.tensor([[0.1, 0.9], [0.5, 0.5], [1.0, 0.0]])
    assert torch.allclose(gated(outputs, shares.log()).exp(), shares, atol=1e-6)


def test_an_expert_that_is_never_asked_says_nothing() -> None:
    outputs = torch.tensor([[[0.8, 0.2], [1e-6, 1.0]]]).log()
    only = gated(outputs, torch.tensor([[0.0, -math.inf]]))
    assert torch.allclose(only.exp(), torch.tensor([[0.8, 0.2]]), atol=1e-6)
    assert bool(only.isfinite().all())


def readings(count: int, centre: float, seed: int, classes: int = 2) -> Dataset:
    """Readings around (±1, centre): the class is the sign of the first, the second tells where they come from."""
    schema = Schema({"readings": KINDS["readings"](2)}, ("a", "b"))
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    values = 0.3 * torch.randn(count, 2, generator=rng)
    values += torch.stack([2.0 * labels - 1, torch.full((count,), centre)], 1)
    return Dataset(Samples(schema.fields, {"readings": values}), labels, schema)


def site(client: int, count: int, centre: float, classes: int = 2) -> Contribution:
    config = Config().with_values(dict(ROWS))
    return contribute(
        Site(client, readings(count, centre, client, classes), "mlp:8:1"), config, CPU, lambda _: Recorder()
    )


def shares_of(contributions: list[Contribution], samples: Samples, count: int = 3000) -> Tensor:
    sampler = Sampler(contributions, CPU)
    state = gate_state(contributions, sampler, count, 0, CPU, Recorder())
    return load_gate(state, contributions, 0).log_shares(samples).exp()


@pytest.mark.usefixtures("outside")
def test_sources_that_differ_are_told_apart_and_a_client_without_a_generator_is_left_out() -> None:
    clients = [site(2, 200, -3.0), site(5, 200, 0.0), site(9, 200, 3.0)]
    at = torch.tensor([[1.0, -3.0], [1.0, 0.0], [1.0, 3.0]])
    where = Samples(clients[0].schema.fields, {"readings": at})
    assert torch.allclose(shares_of(clients, where), torch.eye(3), atol=0.1)  # twenty trees are never quite sure
    silent = replace(clients[1], generator=None, generator_spec=None, generator_note="too few")
    shares = shares_of([clients[0], silent, clients[2]], where)
    assert shares[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert shares[0, 0] > 0.9
    assert shares[2, 2] > 0.9
    alone = shares_of([silent, clients[0]], where)
    assert alone.tolist() == [[0.0, 1.0]] * 3


@pytest.mark.usefixtures("outside")
def test_sources_that_are_alike_have_the_shares_of_their_data() -> None:
    """Clients of 300 and 100 rows of one distribution: p(k|x) is 3/4 and 1/4 everywhere."""
    clients = [site(0, 340, 0.0), site(1, 114, 0.0)]
    counts = [int(c.class_counts.sum()) for c in clients]
    where = readings(400, 0.0, 7).samples
    shares = shares_of(clients, where).mean(0)
    assert shares.tolist() == pytest.approx([n / sum(counts) for n in counts], abs=0.05)


@pytest.mark.usefixtures("outside")
def test_samples_are_drawn_as_the_data_lie() -> None:
    clients = [site(0, 60, 0.0), site(4, 60, 0.0)]
    counts = torch.tensor([[100, 300], [600, 0]])
    weighed = [replace(c, class_counts=n) for c, n in zip(clients, counts, strict=True)]
    pool = Sampler(weighed, CPU).draw_by_counts(10_000, Stream(0, "natural"))
    cells = torch.stack([((pool.sources == k) & (pool.labels == c)).sum() for k in (0, 4) for c in (0, 1)])
    assert (cells / 10_000).tolist() == pytest.approx([0.1, 0.3, 0.6, 0.0], abs=0.02)
    assert cells[3] == 0


@pytest.mark.usefixtures("outside")
def test_a_source_of_a_few_samples_is_never_asked() -> None:
    samples = readings(100, 0.0, 0).samples
    answers = SourceTrees(samples, torch.tensor([0] * 60 + [1] * 39 + [2]), 3, 0).log_probabilities(samples)
    assert answers.shape == (100, 3)
    assert bool((answers[:, 2] < -20).all())
    lonely = SourceTrees(samples, torch.zeros(100, dtype=torch.int64), 1, 0).log_probabilities(samples)
    assert lonely.tolist() == [[0.0]] * 100


@pytest.mark.usefixtures("outside")
@pytest.mark.filterwarnings("ignore:the gate never asks")
@pytest.mark.parametrize("clients", [2, 3])
def test_a_client_without_a_draw_has_no_share_and_all_shares_sum_to_one(clients: int) -> None:
    contributions = [replace(site(0, 60, 0.0), client=k) for k in range(clients)]
    samples = readings(100, 0.0, 0).samples
    state = {**to_tensors(samples, "sample/"), "sources": torch.zeros(100, dtype=torch.int64)}
    shares = load_gate(state, contributions, 0).log_shares(samples).exp()
    assert torch.allclose(shares.sum(1), torch.ones(100))
    assert bool((shares[:, 0] > 0.999).all())
    assert bool((shares[:, 1:] < 1e-6).all())


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("counts", [[3, 3], [1, 1], [2, 1], [5, 5, 5], [9, 9, 2], [10] * 12])
def test_a_few_samples_of_each_source_are_learnt_all_the_same(counts: list[int]) -> None:
    sources = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    samples = readings(len(sources), 0.0, 0).samples
    answers = SourceTrees(samples, sources, len(counts), 0).log_probabilities(samples)
    assert torch.allclose(answers.exp().sum(1), torch.ones(len(sources)), atol=1e-4)


@pytest.mark.usefixtures("outside")
def test_at_least_twenty_samples_a_source_are_drawn() -> None:
    clients = [site(0, 60, 0.0), site(1, 60, 3.0)]
    assert len(gate_state(clients, Sampler(clients, CPU), 3, 0, CPU, Recorder())["sources"]) == 40


@pytest.mark.usefixtures("outside")
def test_clients_that_are_never_asked_are_in_a_note() -> None:
    contributions = [replace(site(0, 60, 0.0), client=k) for k in (4, 6)]
    samples = readings(100, 0.0, 0).samples
    state = {**to_tensors(samples, "sample/"), "sources": torch.zeros(100, dtype=torch.int64)}
    with pytest.warns(Note, match=r"never asks the models of 1 of 2 clients \(6\)"):
        load_gate(state, contributions, 0)


@pytest.mark.usefixtures("outside")
def test_a_distillation_with_the_gate_resumes_to_the_same_model(tmp_path: Path) -> None:
    clients = [site(0, 120, -1.0, 1), site(1, 120, 1.0)]
    config = Config().with_values({**ROWS, "models.student": "mlp:16:1", "distill.steps": 300})
    first = distill(clients, config, CPU, Journal(tmp_path))
    assert first.choice["teacher"] == "gate"
    for name in ("student", "pool"):
        for file in (tmp_path / "stages").glob(f"{name}.*"):
            file.unlink()
    again = distill(clients, config, CPU, Journal(tmp_path))
    assert all(torch.equal(first.model.state[name], tensor) for name, tensor in again.model.state.items())
    test = readings(200, 1.0, 11)
    assert first.model.evaluate(test).accuracy > 0.95


def test_the_gate_of_images_is_a_network(digits: Dataset) -> None:
    rows = [(digits.labels == c).nonzero().flatten()[:100] for c in (0, 1)]
    config = Config().with_values({**QUICK, "generator.steps": 200, "generator.family": "cvae"})
    clients = [
        contribute(Site(k, digits.subset(index), "mlp:16"), config, CPU, lambda _: Recorder())
        for k, index in enumerate(rows)
    ]
    state = gate_state(clients, Sampler(clients, CPU), 600, 0, CPU, Recorder())
    shares = load_gate(state, clients, 0).log_shares(digits.subset(torch.cat(rows)).samples).exp()
    right = torch.cat([shares[:100, 0], shares[100:, 1]])
    assert float((right > 0.5).float().mean()) > 0.95
    teachers = Teachers(MixtureOfExperts.of(clients), None, gate=load_gate(state, clients, 0))
    zeros = digits.subset(rows[0][:9])
    answers = teachers.ask({"gate", "class_balanced"}, zeros.samples, CPU)
    assert (answers["gate"].argmax(1) == 0).all()
    assert torch.allclose(answers["gate"].exp().sum(1), torch.ones(9), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generator.family": "none"}, "gate, which learns from generators, but generator.family is none"),
        ({"experts.kind": "class_average"}, "set experts.kind = clients"),
    ],
)
@pytest.mark.parametrize("place", [{"distill.teacher": "gate"}, {"distill.candidates": ["gate"]}])
def test_a_gate_that_cannot_be_is_refused_before_any_work(
    changes: dict[str, str], words: str, place: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match=words):
        check_teacher(Config().with_values({**changes, **place}))


def test_where_no_client_sent_a_generator_there_is_no_gate() -> None:
    teachers = Teachers(MixtureOfExperts((), torch.ones(1, 2), torch.ones(1, 2)), None)
    with pytest.raises(UsageError, match="no client sent a generator"):
        teachers.log_probabilities("gate", torch.zeros(1, 1, 2))


def test_its_work_is_in_the_forecast(digits: Dataset) -> None:
    config = Config().with_values({"distill.teacher": "gate", "distill.choose": False})
    work = distillation(config, digits.schema, [Contributor("mlp:16", "cvae", 100)] * 3, "mlp:16", can_score=False)
    steps = [job.count for job in work.jobs if job.stage == "gate" and job.unit.kind == "train"]
    assert steps == [1130]  # 10 passes over 7,200 samples in batches of 64: 113 a pass
