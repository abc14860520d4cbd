"""Decoded pictures are varied before a teacher says what they show."""

import torch

from mosaic_fl.encoders.variation import sharpened, varied, warped


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, channels: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, 10, 12), generator=rng(), dtype=torch.uint8)


def test_sharpening_moves_no_pixel_towards_grey_nor_across_it() -> None:
    before = pictures(40).float() - 127.5
    after = sharpened(pictures(40), rng()).float() - 127.5
    assert bool((after * before >= 0).all())
    assert bool((after.abs() >= before.abs() - 0.5).all())
    assert float(after.abs().mean()) > 1.2 * float(before.abs().mean())


def test_a_gain_of_four_at_most() -> None:
    """0.6 has the logit log 1.5; four times that is the logit of 1.5⁴ / (1 + 1.5⁴) = 0.835: 213 of 255."""
    grey = torch.full((500, 1, 4, 4), 153, dtype=torch.uint8)
    sharp = sharpened(grey, rng())
    assert int(sharp.min()) == 153
    assert 205 <= int(sharp.max()) <= 213


def test_a_warp_leaves_the_middle_and_moves_the_rest_a_little() -> None:
    dot = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    dot[:, :, 13:15, 13:15] = 255
    after = warped(dot, rng()).float()
    mass = after.sum((1, 2, 3))
    places = torch.arange(28) - 13.5
    for centre in ((after.sum((1, 2)) * places).sum(1) / mass, (after.sum((1, 3)) * places).sum(1) / mass):
        assert float(centre.abs().max()) < 2.5
        assert float(centre.std()) > 0.3
    assert not int(warped(torch.zeros(5, 3, 8, 8, dtype=torch.uint8), rng()).max())


def test_variation_keeps_form_and_follows_from_its_draws() -> None:
    for count in (0, 1, 9):
        values = pictures(count, 3)
        first = varied(values, rng(1))
        assert first.shape == values.shape
        assert first.dtype == torch.uint8
        assert torch.equal(first, varied(values, rng(1)))
    half = sharpened(pictures(8), rng(2))[:4]
    assert torch.equal(varied(pictures(8), rng(2))[:4], half)
