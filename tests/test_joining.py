"""Samples whose fields come from several clients, joined by class."""

from dataclasses import replace

import pytest
import torch

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.joining import FieldSampler, left_out, sampler_of
from mosaic_fl.server.pool import of_sources
from mosaic_fl.server.recipes import label_shares
from mosaic_fl.server.recognition import Recognition, recognition
from mosaic_fl.server.region import as_contribution
from views import KINDS, made, views

CPU = torch.device("cpu")


def with_counts(contribution: Contribution, *by_field: dict[int, int]) -> Contribution:
    """The contribution of a client that has so many samples of these classes with each field."""
    counts = torch.zeros(3, 10, dtype=torch.int64)
    for row, numbers in zip(counts, by_field, strict=True):
        for label, number in numbers.items():
            row[label] = number
    return replace(contribution, field_counts=counts, class_counts=counts.amax(0))


@pytest.fixture(scope="module")
def clients(digits: Dataset) -> list[Contribution]:
    """Client 3 has left and table, client 5 right, client 8 left."""
    data = views(digits, 120)
    return [made(data, 3, "fusion:8", "left", "table"), made(data, 5, "cnn:4", "right"), made(data, 8, "cnn:4", "left")]


@pytest.fixture
def sampler(clients: list[Contribution]) -> FieldSampler:
    """Class 0: left of 3 (30) and 8 (10), table of 3, right of 5. Class 1: left of 8 alone. Class 2: right of 5."""
    first, second, third = clients
    weighed = [
        with_counts(first, {0: 30}, {}, {0: 20}),
        with_counts(second, {}, {0: 7, 2: 9}, {}),
        with_counts(third, {0: 10, 1: 40}, {}, {}),
    ]
    made_of = sampler_of(weighed, CPU)
    assert isinstance(made_of, FieldSampler)
    return made_of


def test_a_field_comes_from_clients_that_hold_its_class(sampler: FieldSampler) -> None:
    """Classes are even; left of class 0 is client 3's in 30 of 40 cases."""
    pool = sampler.draw(3000, Stream(0, "p"))
    assert torch.bincount(pool.labels, minlength=10).tolist() == [1000] * 3 + [0] * 7
    left, right, table = pool.sources.T
    zero, one, two = (pool.labels == label for label in range(3))
    assert set(left[zero].tolist()) == {-1, 3, 8}
    assert set(right[zero].tolist()) == {-1, 5}
    assert set(table[zero].tolist()) == {-1, 3}
    assert set(left[one].tolist()) == {8}
    assert set(right[two].tolist()) == {5}
    assert set(torch.cat([right[one], table[one], left[two], table[two]]).tolist()) == {-1}
    drawn = left[zero][left[zero] >= 0]
    assert 0.69 < float((drawn == 3).float().mean()) < 0.81  # 0.75, σ < 0.018


def test_a_sample_has_the_fields_that_have_a_source(sampler: FieldSampler) -> None:
    pool = sampler.draw(300, Stream(0, "p"))
    present = torch.stack([pool.samples.having(name) for name in KINDS], 1)
    assert torch.equal(present, pool.sources >= 0)
    assert bool(present.any(1).all())
    assert pool.samples.values["left"][~present[:, 0]].abs().sum() == 0
    again = sampler.draw(300, Stream(0, "p"))
    assert torch.equal(again.samples.values["left"], pool.samples.values["left"])


def test_apart_a_sample_is_of_one_client_with_what_this_holds_of_its_class(sampler: FieldSampler) -> None:
    pool = sampler.draw_apart(300, Stream(0, "p"))
    present = torch.stack([pool.samples.having(name) for name in KINDS], 1)
    fields = {3: [True, False, True], 5: [False, True, False], 8: [True, False, False]}
    assert present.tolist() == [fields[int(client)] for client in pool.sources]
    assert set(pool.sources.tolist()) == {3, 5, 8}


def test_classes_come_as_often_as_clients_have_them(sampler: FieldSampler) -> None:
    """A client's samples of a class are its most of any field: 30 + 7 + 10 of class 0, 40 and 9 of 1 and 2."""
    labels = sampler.draw_by_counts(9600, Stream(0, "p")).labels
    shares = torch.bincount(labels, minlength=3)[:3] / 9600
    assert torch.allclose(shares, torch.tensor([47.0, 40.0, 9.0]) / 96, atol=0.02)


def test_fields_are_left_out_of_half_of_the_samples() -> None:
    """Of three fields one stays, each of the others goes in half of all cases: 0.5 · 2 · 0.5 of them go on average."""
    present = torch.ones(20_000, 3, dtype=torch.bool)
    out = left_out(present, torch.Generator().manual_seed(0))
    assert int(out.all(1).sum()) == 0
    assert abs(float(out.any(1).float().mean()) - 0.5 * 0.75) < 0.02
    assert abs(float(out.float().sum(1).mean()) - 0.5) < 0.02
    assert (out.float().mean(0) - 1 / 6).abs().max() < 0.02
    lone = torch.tensor([[False, True, False]]).expand(500, -1)
    assert not bool(left_out(lone, torch.Generator().manual_seed(0)).any())


def test_values_by_source_are_means_over_the_fields_that_a_sample_has() -> None:
    values = torch.tensor([[0.1, 0.2], [0.5, 0.6], [0.9, 1.0]])
    clients = torch.tensor([3, 5, 8])
    labels = torch.tensor([0, 1])
    assert of_sources(values, clients, torch.tensor([5, 8]), labels).tolist() == pytest.approx([0.5, 1.0])
    by_field = torch.tensor([[3, -1, 5], [-1, 8, -1]])
    assert of_sources(values, clients, by_field, labels).tolist() == pytest.approx([0.3, 1.0])


def test_labels_count_by_the_sources_of_all_fields() -> None:
    """Where generators are recognised the label has 1 − 0.5 · (1 − 1 · (1 − overlap)) of the loss, and else half."""
    rates = torch.tensor([[1.0, 1.0], [0.9, 0.9]])
    apart = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    config = DistillConfig(kl=0.5, label=0.5)
    shares = label_shares(config, Recognition(rates, 0.95), apart, [3, 5])
    sources = torch.tensor([[3, 3], [3, 5], [5, -1]])
    assert shares(torch.tensor([0, 0, 1]), sources).tolist() == pytest.approx([1.0, 0.75, 0.5])


def test_experts_are_measured_on_samples_of_their_own_fields(clients: list[Contribution]) -> None:
    sampler = sampler_of(clients, CPU)
    measure = recognition(sampler, [c.build_expert() for c in clients], 0, CPU)
    assert measure is not None
    assert measure.rates.shape == (3, 10)
    assert bool(measure.rates.isfinite().all())


def test_nobody_with_a_generator_is_told(clients: list[Contribution]) -> None:
    with pytest.raises(UsageError, match="no contribution has a generator"):
        sampler_of([c.without_generator() for c in clients], CPU)


def test_a_region_merges_the_generators_of_each_field(clients: list[Contribution]) -> None:
    """Its one contribution draws each field from the clients that have it, as the server draws from them."""
    schema = clients[0].schema
    model = GlobalModel("fusion:8", schema, copy_state(build("fusion:8", schema)))
    region = Contribution.from_bytes(as_contribution(model, clients, 1).to_bytes())
    assert region.fields == ("left", "right", "table")
    spec = region.generator_spec
    assert spec is not None
    assert [member.family for member in spec.members] == ["merged"] * 3
    assert [len(member.members) for member in spec.members] == [2, 1, 1]
    assert torch.equal(region.counts_by_field, torch.stack([c.counts_by_field for c in clients]).sum(0))
    pool = sampler_of([region], CPU).draw(50, Stream(0, "p"))
    assert pool.samples.fields == ("left", "right", "table")
    two_levels = as_contribution(model, [region, replace(clients[2], client=9)], 2)
    assert two_levels.generator_spec is not None
    assert [len(member.members) for member in two_levels.generator_spec.members] == [3, 1, 1]
