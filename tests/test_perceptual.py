"""The perceptual distance: its numbers by hand, and what it does to a VAE, whose classifier stays as it was."""

import pytest
import torch
from torch import nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.generators import perceptual
from mosaic_fl.generators.cvae import train_vae
from mosaic_fl.generators.perceptual import Goals, LayerOutputs
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")


def network(*factors: float) -> nn.Sequential:
    """Layers that multiply by these factors, and a last one that gives logits."""
    layers = [nn.Linear(1, 1, bias=False) for _ in (*factors, 1.0)]
    for layer, factor in zip(layers, (*factors, 1.0), strict=True):
        nn.init.constant_(layer.weight, factor)
    return nn.Sequential(*layers)


def test_distance_by_hand() -> None:
    # Outputs of x → 2x → 6x for 1 and 3 against 2 and 2: each layer has Σ(a − b)² / Σb² = (1 + 1) / (4 + 4).
    with LayerOutputs(network(2.0, 3.0)) as layers:
        distance = layers.distance(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [2.0]]))
    assert distance.item() == pytest.approx(0.25)


def test_a_layer_that_sees_nothing_counts_as_one_of_them() -> None:
    # The first layer gives 0 for all: 0 of 2 layers differ there, and Σb² is 0 without a division by it.
    with LayerOutputs(network(0.0, 3.0)) as layers:
        assert layers.distance(torch.ones(2, 1), torch.zeros(2, 1)).item() == 0


def test_only_the_inputs_have_a_gradient() -> None:
    inputs = torch.tensor([[1.0]], requires_grad=True)
    target = torch.tensor([[2.0]], requires_grad=True)
    with LayerOutputs(network(5.0)) as layers:
        layers.distance(inputs, target).backward()
    # d/da (a − 2)² / 4 at a = 1
    assert inputs.grad is not None
    assert inputs.grad.item() == pytest.approx(-0.5)
    assert target.grad is None


def test_goals_are_those_of_each_batch_whether_or_not_they_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = torch.arange(300.0)[:, None]
    index = torch.tensor([299, 0, 7])
    asked = list[int]()

    def inputs(index: torch.Tensor) -> torch.Tensor:
        asked.append(len(index))
        return samples[index]

    with LayerOutputs(network(2.0, 3.0)) as layers:
        remembered = Goals(layers, inputs, 300)
        before = len(asked)
        first, second = remembered.at(index)
        assert len(asked) == before  # 300 samples of two floats: 2,400 bytes
        monkeypatch.setattr(perceptual, "MOST_REMEMBERED", 2399)
        anew = Goals(layers, inputs, 300)
        assert all(map(torch.equal, anew.at(index), (first, second)))
        assert asked[before:] == [1, 3]
    assert first.flatten().tolist() == [598, 0, 14]
    assert second.flatten().tolist() == [1794, 0, 42]


def test_the_logits_are_no_features() -> None:
    assert len(LayerOutputs(network(1.0, 1.0)).layers) == 2
    assert len(LayerOutputs(network()).layers) == 1  # but a single layer is better than none
    with LayerOutputs(nn.Flatten()) as layers:
        assert layers.distance(torch.ones(1, 1), torch.zeros(1, 1)).item() == 0


def test_hooks_end_with_the_block() -> None:
    model = network(1.0)
    with LayerOutputs(model) as layers:
        layers.of(torch.ones(1, 1))
    model(torch.ones(1, 1))
    assert layers.outputs == []


def test_a_vae_reconstructs_what_its_classifier_sees_and_leaves_it_alone(digits: Dataset) -> None:
    data = digits.subset(range(200))
    with Stream(0, "expert").ambient():
        expert = build("cnn:8:2", data.schema)
    before = copy_state(expert)
    samples = {}
    for weight in (0.0, 1.0):
        config = GeneratorConfig(steps=30, width=8, latent=4, perceptual=weight)
        decoder = train_vae(data, expert, config, Stream(0, "g"), CPU, Recorder())
        samples[weight] = decoder.sample(torch.arange(10), torch.Generator().manual_seed(0))
    assert not torch.equal(samples[0.0], samples[1.0])
    assert all(torch.equal(a, b) for a, b in zip(before.values(), copy_state(expert).values(), strict=True))
    # Without a network, as at a client with another kind of model, it is the plain VAE.
    config = GeneratorConfig(steps=30, width=8, latent=4, perceptual=1.0)
    plain = train_vae(data, None, config, Stream(0, "g"), CPU, Recorder())
    assert torch.equal(plain.sample(torch.arange(10), torch.Generator().manual_seed(0)), samples[0.0])
