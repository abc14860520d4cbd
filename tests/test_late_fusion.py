"""`fusion`: one encoder a field, features joined with flags, fields left out at random in training."""

import pytest
import torch

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import PRESENT, Inputs
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build, check, default_models, default_student
from mosaic_fl.models.late_fusion import KEEP, LateFusion, left_out
from mosaic_fl.models.registry import outline
from mosaic_fl.numerics.states import copy_state, weighted_sum
from views import KINDS, only, views

SCHEMA = Schema(KINDS, ("a", "b", "c"))


def fusion(width: int = 8) -> LateFusion:
    torch.manual_seed(0)
    model = build(f"fusion:{width}", SCHEMA)
    assert isinstance(model, LateFusion)
    model.seen.fill_(1)
    return model.eval()


def inputs_of(data: Dataset) -> dict[str, torch.Tensor]:
    inputs: Inputs = data.samples.inputs()
    assert isinstance(inputs, dict)
    return inputs


def test_the_defaults_join_fields() -> None:
    assert default_models(SCHEMA) == ("fusion:64",)
    assert default_student(SCHEMA) == "fusion:128"
    check("fusion:64", SCHEMA)
    assert outline("fusion:64", SCHEMA).features == 64


def test_a_field_that_is_absent_gives_zeros_and_a_flag_of_zero(digits: Dataset) -> None:
    """The joint layer sees the features of left, then zeros, and the flags 1, 0, 0."""
    model = fusion()
    seen: list[torch.Tensor] = []
    model.body.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    data = only(views(digits, 3), "left")
    model.features(inputs_of(data))
    own = model.encoder("left")(inputs_of(data)["left"])
    assert torch.equal(seen[0][:, : own.shape[1]], own)
    assert own.abs().sum() > 0
    assert seen[0][:, own.shape[1] : -3].abs().sum() == 0
    assert seen[0][:, -3:].tolist() == [[1.0, 0.0, 0.0]] * 3


def test_values_of_an_absent_field_change_nothing(digits: Dataset) -> None:
    data = views(digits, 4)
    inputs = inputs_of(data)
    absent = {**inputs, f"right{PRESENT}": torch.zeros(4, 1)}
    other = {**absent, "right": torch.rand(4, 1, 8, 4)}
    assert torch.equal(fusion()(absent), fusion()(other))
    assert not torch.equal(fusion()(absent), fusion()(inputs))


def test_fields_are_left_out_at_random_but_never_all() -> None:
    """Of one field that is there alone none is left out; of two each is seen with probability 0.7, or 0.7 + 0.3².

    Both would go in 0.09 of all samples, which keep both instead: 0.79 see each. σ of 20,000 draws is 0.003.
    """
    torch.manual_seed(0)
    alone = torch.tensor([[0.0, 1.0, 0.0]]).expand(1000, -1)
    assert (alone * left_out(alone))[:, 1].min() == 1
    both = torch.tensor([[1.0, 1.0, 0.0]]).expand(20_000, -1)
    seen = both * left_out(both)
    assert seen.sum(1).min() == 1
    assert KEEP == 0.7
    assert abs(float(seen[:, 0].mean()) - 0.79) < 0.015
    assert seen[:, 2].max() == 0


def test_in_training_fields_are_left_out_and_in_use_not(digits: Dataset) -> None:
    model = fusion()
    inputs = inputs_of(views(digits, 40))
    assert torch.equal(model(inputs), model(inputs))
    seen: list[torch.Tensor] = []
    model.train().body.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(inputs)
    flags = seen[0][:, -3:]
    assert 0 < int((flags == 0).sum()) < 60
    assert flags.sum(1).min() >= 1


@pytest.mark.parametrize("name", ["cnn:16", "mlp:64", "resnet8", "lenet", "vit"])
def test_networks_of_one_field_are_refused_for_several(name: str) -> None:
    with pytest.raises(UsageError, match="reads one field, and samples have left, right, table: name fusion"):
        check(name, SCHEMA)


def test_fusion_is_refused_for_one_field_and_out_of_bounds() -> None:
    with pytest.raises(UsageError, match="fusion joins several fields, and samples are 1×8×4 images"):
        check("fusion:64", SCHEMA.part(["left"]))
    for name in ("fusion:0", "fusion:1025", "fusion:8:2"):
        with pytest.raises(UsageError, match="fusion"):
            check(name, SCHEMA)


def test_a_field_of_no_training_sample_is_as_good_as_absent(digits: Dataset) -> None:
    """Its encoder has learnt nothing; of two clients' models the average knows what either has seen."""
    model = fusion()
    model.seen.zero_()
    data = views(digits, 40)
    half = only(data, "left", "table")
    model.train()(inputs_of(half))
    model.eval()
    assert model.seen.tolist() == [1, 0, 1]
    assert torch.equal(model(inputs_of(data)), model(inputs_of(half)))
    other = fusion()
    other.seen.copy_(torch.tensor([0, 1, 0]))
    merged = weighted_sum([copy_state(model), copy_state(other)], [0.5, 0.5])
    assert merged["seen"].tolist() == [1, 1, 1]
