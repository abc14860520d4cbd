"""An encoder is inverted: pictures are moved until their vectors are those that were asked for."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.inversion import inverted, roughness
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.generators.moments.generator import DIAGONAL, FULL
from mosaic_fl.numerics.moments import Moments

CPU = torch.device("cpu")


def brightness(digits: Dataset, power: float = 1.0) -> Encoder:
    """An encoder of one number: the mean of the pixels, to a power."""

    def smooth(pixels: Tensor, device: torch.device) -> Tensor:
        return pixels.mean((1, 2, 3), keepdim=False)[:, None] ** power

    return Encoder("mean", "0" * 64, 1, digits.schema.kind, "nothing", smooth, smooth=smooth)


@pytest.mark.parametrize("name", ["gabor", "gabor:32", "strokes", "gabor+strokes"])
def test_the_smooth_map_is_the_encoder(name: str, digits: Dataset) -> None:
    encoder = make_encoder(name, digits.schema.kind)
    values = digits.samples.only[:20]
    assert encoder.smooth is not None
    pixels = (values.float() / 255).requires_grad_()
    vectors = encoder.smooth(pixels, CPU)
    assert torch.allclose(vectors, encoder.vectors(values), atol=0.2)  # energies of zero have a slope
    (slope,) = torch.autograd.grad(vectors.sum(), [pixels])
    assert bool(slope.isfinite().all())


def test_pictures_reach_a_brightness(digits: Dataset) -> None:
    """0.25 and 0.75 of 255 are 64 and 191; a flat picture stays flat."""
    flat = torch.full((2, 1, 8, 8), 128, dtype=torch.uint8)
    targets = torch.tensor([[0.25], [0.75]])
    reached = inverted(brightness(digits), flat, lambda v, rows: 100 * (v - targets[rows]).square().sum(1), 60)
    assert reached.dtype == torch.uint8
    assert [int(picture.unique()) for picture in reached] == pytest.approx([64, 191], abs=2)
    assert int(flat.float().mean()) == 128  # a copy was moved


def test_a_picture_does_not_depend_on_its_neighbours(digits: Dataset) -> None:
    encoder = make_encoder("gabor+strokes", digits.schema.kind)
    values = digits.samples.only[:140]
    targets = encoder.vectors(values.flip(0))

    def distance(vectors: Tensor, rows: Tensor) -> Tensor:
        return (vectors - targets[rows]).square().mean(1)

    heard = list[int]()
    all_of_them = inverted(encoder, values, distance, 3, tell=heard.append)
    assert heard == [128, 140]
    few = inverted(encoder, values[:5], distance, 3)
    assert int((all_of_them[:5].int() - few.int()).abs().max()) <= 1
    before = distance(encoder.vectors(values), torch.arange(140)).mean()
    assert distance(encoder.vectors(all_of_them), torch.arange(140)).mean() < 0.7 * before


def test_roughness_by_hand() -> None:
    """Of two rows (0, 1) and (0, 0): differences along 1 and 0, down 0 and 1, over four pixels."""
    assert roughness(torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])).tolist() == [0.5]
    assert roughness(torch.ones(1, 1, 1, 1)).tolist() == [0.0]


def test_what_cannot_be_inverted_is_told(digits: Dataset) -> None:
    picture = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(UsageError, match="encoder mean has no gradients: say distill.inversion = 0"):
        inverted(replace(brightness(digits), smooth=None), picture, lambda v, rows: v[:, 0], 1)
    with pytest.raises(UsageError, match="gradients that are not finite"):
        inverted(brightness(digits), picture, lambda v, rows: (v[:, 0] - v[:, 0].detach()).sqrt(), 1)
    assert len(inverted(brightness(digits), picture[:0], lambda v, rows: v[:, 0], 1)) == 0


@pytest.mark.parametrize("width", [DIAGONAL, FULL])
def test_whitening_is_the_inverse_of_a_draw(width: int) -> None:
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(3, 9, generator=rng, dtype=torch.float64)
    scatter = 500 * root @ root.T
    means = torch.randn(2, 3, generator=rng).double()
    moments = Moments(torch.tensor([400, 600]), means, scatter.diagonal() if width == DIAGONAL else scatter)
    generator = ClassMoments(GeneratorSpec("moments", 3, width), Schema({"vector": Vector(3)}, ("a", "b")))
    generator.draw_from(moments)
    labels = torch.arange(8) % 2
    z = torch.randn(8, 3, generator=rng)
    drawn = generator(z, labels)
    assert torch.allclose(generator.whitener()(drawn - means.float()[labels], labels), z, atol=1e-3)
