"""What a client with some fields contributes, and what is refused of a received contribution."""

from dataclasses import replace

import pytest
import torch

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.reading import FieldReader, answers_of
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.product import Product
from views import FEW, KINDS, made, only, views


@pytest.fixture(scope="module")
def data(digits: Dataset) -> Dataset:
    return views(digits, 200)


@pytest.fixture(scope="module")
def joint(data: Dataset) -> Contribution:
    """A client with the left half and the table; half of its samples lack the table."""
    present = {"table": torch.arange(200) < 100}
    mine = Dataset(replace(data.samples, present=present).with_fields(["left", "table"]), data.labels, data.schema)
    return mosaic_fl.contribute(mine, model="fusion:8", client=0, settings=FEW)


def test_a_contribution_says_how_many_samples_of_each_class_have_each_field(joint: Contribution, data: Dataset) -> None:
    """No validation split is held out of a class's rows by field: all training rows are counted as they are."""
    assert joint.fields == ("left", "table")
    left, right, table = joint.counts_by_field
    assert torch.equal(left, joint.class_counts)
    assert int(right.sum()) == 0
    assert 0 < int(table.sum()) < int(left.sum())
    again = Contribution.from_bytes(joint.to_bytes())
    assert again.fields == joint.fields
    assert torch.equal(again.counts_by_field, joint.counts_by_field)


def test_a_contribution_without_field_counts_has_all_fields(joint: Contribution) -> None:
    old = replace(joint, field_counts=None)
    assert old.fields == ("left", "right", "table")
    assert torch.equal(old.counts_by_field, joint.class_counts.expand(3, -1))


def test_each_field_has_a_generator_of_its_own(joint: Contribution) -> None:
    spec = joint.generator_spec
    assert spec is not None
    assert (spec.family, spec.fields) == ("product", ("left", "table"))
    assert [member.family for member in spec.members] == ["cvae", "cart"]
    assert joint.generator_note.startswith("left: cvae, ")
    generator = Contribution.from_bytes(joint.to_bytes()).build_generator()
    assert isinstance(generator, Product)
    drawn = generator.samples(KINDS, torch.tensor([0, 3, 3]), torch.Generator().manual_seed(0))
    assert drawn.fields == ("left", "table")
    assert drawn.values["right"].abs().sum() == 0
    twice = generator.samples(KINDS, torch.tensor([0, 3, 3]), torch.Generator().manual_seed(0))
    assert all(torch.equal(drawn.values[name], twice.values[name]) for name in KINDS)


def test_an_expert_sees_nothing_of_fields_that_its_client_lacks(joint: Contribution, data: Dataset) -> None:
    expert = joint.build_expert()
    few = data.samples[:4]
    other = replace(few, values={**few.values, "right": 255 - few.values["right"]})
    assert torch.equal(expert.log_probabilities(few), expert.log_probabilities(other))
    assert not torch.equal(expert.log_probabilities(few), expert.log_probabilities(few.with_fields(["left"])))


def test_an_expert_is_asked_only_of_samples_that_it_can_read(joint: Contribution, data: Dataset) -> None:
    expert = joint.build_expert()
    assert isinstance(expert, FieldReader)
    mixed = replace(data.samples[:3], present={"left": torch.tensor([True, False, False])})
    mixed = replace(mixed, present={**mixed.present, "table": torch.tensor([True, True, False])})
    assert expert.can_read(mixed).tolist() == [True, True, False]
    answers = answers_of(expert, mixed)
    assert answers.isnan().any(1).tolist() == [False, False, True]
    assert torch.allclose(answers[:2], expert.log_probabilities(mixed[:2]), atol=1e-5)
    assert bool(answers_of(expert, mixed[2:]).isnan().all())


@pytest.mark.parametrize(
    ("model", "field"), [("cnn:4", "left"), ("mlp:8", "table"), ("random_forest:5", "table"), ("fusion:8", "right")]
)
def test_a_client_with_one_field_uses_any_model_of_it(data: Dataset, model: str, field: str) -> None:
    made_there = Contribution.from_bytes(made(data, 1, model, field).to_bytes())
    assert made_there.fields == (field,)
    answers = answers_of(made_there.build_expert(), data.samples[:3])
    assert answers.shape == (3, 10)
    assert bool(answers.isfinite().all())
    others = data.samples[:3].with_fields([name for name in KINDS if name != field])
    assert bool(answers_of(made_there.build_expert(), others).isnan().all())


def test_a_forest_reads_all_fields_of_its_client_or_nothing(data: Dataset) -> None:
    expert = made(data, 1, "random_forest:5", "left", "table").build_expert()
    assert bool(answers_of(expert, data.samples[:2]).isfinite().all())
    assert bool(answers_of(expert, data.samples[:2].with_fields(["table"])).isnan().all())


def test_a_forest_learns_from_samples_that_have_all_its_fields(data: Dataset) -> None:
    """Those of its validation split count that have both; where no sample has both there is no forest."""
    rows = torch.arange(len(data))

    def lacking(left: torch.Tensor, table: torch.Tensor) -> Dataset:
        samples = data.samples.with_fields(["left", "table"])
        return Dataset(
            replace(samples, present={**samples.present, "left": left, "table": table}), data.labels, data.schema
        )

    with pytest.raises(UsageError, match="no sample has all of left, table, which random_forest:5 needs: name fusion"):
        mosaic_fl.contribute(lacking(rows % 2 == 0, rows % 2 == 1), model="random_forest:5", client=0, settings=FEW)
    mixed = lacking(rows < 100, rows >= 0)
    of_both, of_all = (
        mosaic_fl.contribute(mixed, model=model, client=0, settings=FEW).validation["samples"]
        for model in ("random_forest:5", "fusion:4")
    )
    assert 0 < of_both < of_all


def test_models_that_do_not_fit_the_fields_are_refused(data: Dataset) -> None:
    with pytest.raises(UsageError, match="'cnn:4' reads one field, and this site has left, right: name fusion"):
        made(data, 0, "cnn:4", "left", "right")
    with pytest.raises(UsageError, match="cnn"):
        made(data, 0, "cnn:4", "table")
    with pytest.raises(UsageError, match="a black box is asked of samples of one field"):
        made(data, 0, "answers", "left", "right")
    with pytest.raises(UsageError, match="generator cart draws none of the fields left, right: set generator.family"):
        made(data, 0, "fusion:8", "left", "right", **{"generator.family": "cart"})
    with pytest.raises(UsageError, match="dcgan draws no samples of a given class"):
        made(data, 0, "fusion:8", "left", **{"generator.family": "dcgan"})


def test_a_family_that_is_named_draws_the_fields_of_its_kinds(data: Dataset) -> None:
    spec = made(data, 0, "fusion:8", "left", "table", **{"generator.family": "cvae"}).generator_spec
    assert spec is not None
    assert [member.family for member in spec.members] == ["cvae", "cart"]


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (lambda own: own[:2], "must be 3×10 whole numbers"),
        (lambda own: own.float(), "must be 3×10 whole numbers"),
        (lambda own: -own - 1, "must be 3×10 whole numbers"),
        (lambda own: own + 1000, "none above its class's count"),
        (lambda own: own * 0, "leave samples without any field"),
        (lambda own: own * torch.tensor([[1], [0], [0]]), "its generator draws a field that the client does not have"),
    ],
)
def test_received_field_counts_are_checked(joint: Contribution, counts: object, reason: str) -> None:
    assert callable(counts)
    wrong = replace(joint, field_counts=counts(joint.counts_by_field))
    with pytest.raises(UsageError, match=reason):
        Contribution.from_bytes(wrong.to_bytes())


def test_a_received_model_that_cannot_read_its_fields_is_refused(joint: Contribution, data: Dataset) -> None:
    narrow = made(data, 1, "cnn:4", "left")
    with pytest.raises(UsageError, match="reads one field"):
        Contribution.from_bytes(replace(narrow, field_counts=joint.field_counts * 0 + narrow.class_counts).to_bytes())


CVAE = GeneratorSpec("cvae", 4, 4)
CART = GeneratorSpec("cart", 2, 5)
PRODUCT = {"family": "product", "latent": 6, "width": 5, "fields": ["left", "table"]}


@pytest.mark.parametrize(
    "change",
    [
        {"members": []},
        {"members": [CVAE.to_json()]},
        {"members": [CVAE.to_json()] * 2, "fields": ["left", "left"], "latent": 8},
        {"members": [CVAE.to_json(), CART.to_json()], "latent": 7},
        {"members": [CVAE.to_json(), CART.to_json()], "fields": [1, 2]},
        {"members": [CVAE.to_json(), CART.to_json()], "fields": None},
        {"members": [CVAE.to_json(), {**PRODUCT, "members": [CVAE.to_json(), CART.to_json()]}]},
        {"members": [CVAE.to_json(), GeneratorSpec("dcgan", 2, 4).to_json()]},
    ],
)
def test_received_specifications_of_products_are_checked(change: dict[str, object]) -> None:
    right = {**PRODUCT, "members": [CVAE.to_json(), CART.to_json()]}
    assert GeneratorSpec.from_json(right).to_json() == right
    with pytest.raises(UsageError, match="generator"):
        GeneratorSpec.from_json({**right, **change})


def test_a_generator_of_one_field_is_refused_for_several(joint: Contribution, data: Dataset) -> None:
    plain = made(data, 0, "fusion:8", "left")
    spec = plain.generator_spec
    assert spec is not None
    with pytest.raises(UsageError, match="cvae draws one field"):
        Contribution.from_bytes(replace(plain, generator_spec=spec.members[0]).to_bytes())


def test_one_field_of_a_site_is_a_client_like_others(data: Dataset) -> None:
    """Its expert is what it would be on samples of that field alone, weight for weight."""
    mine = only(data, "left").part(["left"])
    alone = mosaic_fl.contribute(mine, model="cnn:4", client=1, settings=FEW)
    assert all(
        torch.equal(alone.expert[name], tensor) for name, tensor in made(data, 1, "cnn:4", "left").expert.items()
    )
