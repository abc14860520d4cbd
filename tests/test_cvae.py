"""The class-conditional VAE: its loss by hand, and the Gaussians that samples are drawn from."""

import math

import pytest
import torch

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import MosaicError
from mosaic_fl.generators import GeneratorSpec
from mosaic_fl.generators.cvae import Decoder, Doubling, Encoder, evidence_loss, train_vae
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder

NOBODY = torch.nn.Identity()  # a classifier that is not asked
CPU = torch.device("cpu")
SCHEMA = image_schema((1, 8, 8), ("a", "b", "c"))


def test_evidence_loss_by_hand() -> None:
    # Two pixels of brightness 1 and 0.5 at logits 0: 2 ln 2. KL of N(1, e) from N(0, 1): ½(1 + e − 1 − 1).
    images, logits = torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)
    loss = evidence_loss(logits, images, torch.tensor([[1.0]]), torch.tensor([[1.0]]), kl=2.0)
    assert loss.item() == pytest.approx(2 * math.log(2) + 2 * 0.5 * (math.e - 1))
    zero = evidence_loss(logits, images, torch.zeros(1, 1), torch.zeros(1, 1), kl=2.0)
    assert zero.item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 17, 30), (1, 3, 3)])
def test_shapes_and_range(shape: tuple[int, int, int]) -> None:
    schema, spec = image_schema(shape, ("a", "b")), GeneratorSpec("cvae", 3, 2)
    images = Decoder(spec, schema)(torch.randn(2, 3), torch.tensor([0, 1]))
    assert images.shape == (2, *shape)
    assert images.abs().max() <= 1
    mean, log_variance = Encoder(spec, schema)(images, torch.tensor([0, 1]))
    assert mean.shape == log_variance.shape == (2, 3)


def test_a_bias_added_by_itself_gives_the_same_maps_and_gradients() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = Doubling(3, 2, 4, 2, 1)
        maps = torch.randn(5, 3, 4, 4)
    usual = torch.nn.functional.conv_transpose2d(maps, layer.weight, layer.bias, 2, 1)
    torch.testing.assert_close(layer(maps), usual)
    gradients = [torch.autograd.grad(each.square().sum(), list(layer.parameters())) for each in (layer(maps), usual)]
    torch.testing.assert_close(*gradients)
    with torch.no_grad():
        assert torch.equal(layer(maps), usual)


def test_it_learns_real_digits_and_the_same_stream_gives_the_same(digits: Dataset) -> None:
    recorder, config = Recorder(), GeneratorConfig(steps=150, width=8, latent=4)
    made = train_vae(digits.subset(range(300)), NOBODY, config, Stream(0, "g"), CPU, recorder)
    assert recorder.metrics[-1]["generator_loss"] < 0.8 * recorder.metrics[0]["generator_loss"]
    assert made.density.location.abs().sum() > 0
    again = train_vae(digits.subset(range(300)), NOBODY, config, Stream(0, "g"), CPU, Recorder())
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), again.state_dict().values(), strict=True))


def test_divergence_names_the_learning_rate(digits: Dataset) -> None:
    config = GeneratorConfig(steps=100, width=4, latent=4, lr=1e20)
    with pytest.raises(MosaicError, match="lower generator.lr"):
        train_vae(digits.subset(range(50)), NOBODY, config, Stream(0, "g"), CPU, Recorder())
