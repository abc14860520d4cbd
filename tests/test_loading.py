"""Weights into a module: as copies, or as the tensors themselves."""

import pytest
import torch

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build
from mosaic_fl.models.loading import load_into, share_into

SCHEMA = image_schema((3, 16, 16), tuple("abc"))


@pytest.mark.parametrize("spec", ["mlp:8", "cnn:4", "resnet18"])
def test_shared_weights_are_not_copied_and_give_the_same_as_copies(spec: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        source = build(spec, SCHEMA)
        state = {name: tensor.contiguous() for name, tensor in source.state_dict().items()}
        images = torch.randn(5, *SCHEMA.shape)
        copied = load_into(lambda: build(spec, SCHEMA), state, "test")
        before = torch.random.get_rng_state()
        shared = share_into(lambda: build(spec, SCHEMA), state, "test")
        assert torch.equal(before, torch.random.get_rng_state())  # nothing is drawn: the weights are there
    with torch.no_grad():
        assert torch.equal(copied(images), shared(images))
        assert torch.equal(copied.features(images), shared.features(images))
    for name, tensor in shared.state_dict().items():
        held = tensor.untyped_storage().data_ptr() == state[name].untyped_storage().data_ptr()
        assert held == (tensor.ndim != 4 or tensor.is_contiguous())  # convolutions have their channels last
        assert copied.state_dict()[name].untyped_storage().data_ptr() != state[name].untyped_storage().data_ptr()
    assert not shared.training


@pytest.mark.parametrize("load", [load_into, share_into])
def test_weights_that_do_not_fit_are_refused(load) -> None:
    state = build("mlp:8", SCHEMA).state_dict()
    name = next(iter(state))
    with pytest.raises(UsageError, match="test: weight .* the model has"):
        load(lambda: build("mlp:8", SCHEMA), {**state, name: state[name][:1]}, "test")
    with pytest.raises(UsageError, match="missing"):
        load(lambda: build("mlp:8", SCHEMA), {k: v for k, v in state.items() if k != name}, "test")
