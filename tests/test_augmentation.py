import pytest
import torch

from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.augmentation import augment

RAMP = torch.arange(16, dtype=torch.uint8)[None, None, None].expand(200, 1, 16, 16)  # each column has its own value


def test_colour_images_are_varied_unless_said_and_grey_ones_are_not() -> None:
    assert Image((3, 8, 8)).augmentation("auto") == "shift_flip"
    assert Image((1, 8, 8)).augmentation("auto") == "none"
    assert Image((1, 8, 8)).augmentation("shift") == "shift"
    assert augment(RAMP, "none", torch.Generator()) is RAMP


def test_a_shift_moves_columns_together_and_reflects_at_the_edge() -> None:
    made = augment(RAMP, "shift", torch.Generator().manual_seed(0))
    # 16 pixels move by at most 2; the left edge reads −2, −1, 0, … as 2, 1, 0, …
    ways = {0: [0, 1, 2], 1: [1, 2, 3], 2: [2, 3, 4], -1: [1, 0, 1], -2: [2, 1, 0]}
    seen = {tuple(image[0, 5, :3].tolist()) for image in made}
    assert seen == {tuple(way) for way in ways.values()}
    assert (made == made[:, :, :1]).all()


def test_a_flip_moves_nothing() -> None:
    made = augment(RAMP, "flip", torch.Generator().manual_seed(0))
    straight, mirrored = ((made == way).flatten(1).all(1) for way in (RAMP, RAMP.flip(3)))
    assert (straight ^ mirrored).all()
    assert 0.4 < mirrored.float().mean() < 0.6


def test_half_of_the_images_are_mirrored() -> None:
    made = augment(RAMP, "shift_flip", torch.Generator().manual_seed(0)).float()
    falling = (made[:, 0, 0, 12] < made[:, 0, 0, 4]).float().mean()
    assert 0.4 < falling < 0.6


@pytest.mark.parametrize("shape", [(3, 32, 20), (1, 1, 1), (3, 5, 40)])
def test_any_size_keeps_its_shape_and_its_values(shape: tuple[int, int, int]) -> None:
    images = torch.randint(0, 256, (7, *shape), dtype=torch.uint8)
    made = augment(images, "shift_flip", torch.Generator().manual_seed(1))
    assert made.shape == images.shape
    assert made.dtype == torch.uint8
    assert all(set(a.flatten().tolist()) <= set(b.flatten().tolist()) for a, b in zip(made, images, strict=True))
