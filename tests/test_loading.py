"""Weights into a module: as copies, or as the tensors themselves."""

import pytest
import torch

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.loading import load_into, share_into
from mosaic_fl.models.network import Network, load_network
from mosaic_fl.numerics.states import State, copy_state

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


def weights(spec: str, seed: int) -> State:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return copy_state(build(spec, SCHEMA))


def trained(model: Classifier) -> State:
    """Its weights after two steps."""
    images = torch.randn(4, *SCHEMA.shape, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(model.train().parameters(), lr=0.1, momentum=0.9, fused=True)
    for _ in range(2):
        optimiser.zero_grad()
        model(images).square().sum().backward()
        optimiser.step()
    return copy_state(model)


@pytest.mark.parametrize("spec", ["mlp:8", "cnn:4:2", "lenet", "resnet8", "resnet18", "vit"])
def test_a_network_that_had_other_weights_is_as_good_as_a_new_one(spec: str) -> None:
    network = Network()
    used = network.load(spec, SCHEMA, weights(spec, 1), "test")
    trained(used)
    again = network.load(spec, SCHEMA, weights(spec, 2), "test")
    assert again is used
    assert not again.training
    ours, theirs = trained(again), trained(load_network(spec, SCHEMA, weights(spec, 2), "test"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_a_network_is_another_where_the_architecture_is() -> None:
    network, state = Network(), weights("mlp:8", 1)
    first = network.load("mlp:8", SCHEMA, state, "test")
    with pytest.raises(UsageError, match="test: weight .* is missing"):
        network.load("mlp:8", SCHEMA, {}, "test")
    other = image_schema((3, 16, 16), tuple("abcd"))
    with pytest.raises(UsageError, match="test: weight .* the model has"):
        network.load("mlp:8", other, state, "test")
    assert network.load("cnn:4", SCHEMA, weights("cnn:4", 1), "test") is not first
    assert network.load("mlp:8", SCHEMA, state, "test") is not first
