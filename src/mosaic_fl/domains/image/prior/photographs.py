"""Random crops of photographs (Asano and Saeed 2023: one large photograph is enough to distil on)."""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.domains.image.prior.draws import chance

# Side of a crop in photograph pixels (docs/notes/natural-images.md: 24 to 400), at most what fits into the photograph.
LEAST_SIDE = 24
MOST_SIDE = 400
CANDIDATES = 1.5  # crops drawn for each one that is selected
TILT = 0.15  # standard deviation of a crop's rotation in radians, about 9°, besides quarter turns

# A photograph at sizes that shrink by √2: float32 (3, h, w) in 0..1. A crop is read from the size that is nearest to
# its own from above, which is antialiased to within √2 and two orders faster than resizing each crop.
Photograph = tuple[Tensor, ...]


def photograph(pixels: Tensor) -> Photograph:
    """The sizes of one photograph, uint8 (3, h, w), down to a shorter side of 4 pixels."""
    full = pixels.to(torch.float32).div_(255)
    height, width = full.shape[1:]
    steps = max(0, math.floor(2 * math.log2(min(height, width) / 4)))
    sizes = [(round(height / 2 ** (i / 2)), round(width / 2 ** (i / 2))) for i in range(1, steps + 1)]
    return full, *(F.interpolate(full[None], size=s, mode="bilinear", antialias=True)[0] for s in sizes)


@lru_cache(maxsize=1)
def sample_photographs() -> tuple[Photograph, ...]:
    """The two photographs of 427×640 pixels that scikit-learn ships, a temple in China and a flower."""
    from sklearn.datasets import load_sample_images

    return tuple(photograph(torch.from_numpy(np.array(p)).permute(2, 0, 1)) for p in load_sample_images().images)


def detailed_crops(source: Photograph, n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """n crops of `crops`: those with most detail of 1.5·n, because sky and blurred background excite no expert."""
    candidates = crops(source, math.ceil(CANDIDATES * n), height, width, rng)
    detail = candidates.mean(1).flatten(1).std(1, correction=0)
    return candidates[detail.argsort(descending=True, stable=True)[:n]]


def crops(source: Photograph, n: int, height: int, width: int, rng: torch.Generator) -> Tensor:
    """n random crops, float32 (n, 3, height, width) in 0..1.

    Sides are log-uniform in 24..400 photograph pixels (the longer side, where height ≠ width) or what fits; half the
    crops are mirrored, half get a random number of quarter turns, all a slight tilt.
    """
    photo_height, photo_width = source[0].shape[1:]
    long = max(height, width)
    turns = torch.randint(4, (n,), generator=rng) * chance(rng, 0.5, n)
    angle = turns * (math.pi / 2) + TILT * torch.randn(n, generator=rng)
    cos = angle.cos()
    sin = angle.sin()
    reach_y = (cos.abs() * height + sin.abs() * width) / long  # extent in the photograph of a crop of side 1
    reach_x = (cos.abs() * width + sin.abs() * height) / long
    most = torch.minimum(photo_height / reach_y, photo_width / reach_x).clamp(max=MOST_SIDE)
    least = most.clamp(max=LEAST_SIDE)
    side = least * (most / least) ** torch.rand(n, generator=rng)
    middle_y = side * reach_y / 2 + torch.rand(n, generator=rng) * (photo_height - side * reach_y)
    middle_x = side * reach_x / 2 + torch.rand(n, generator=rng) * (photo_width - side * reach_x)
    mirror = 1 - 2 * chance(rng, 0.5, n).float()

    y = _centres(height, long)
    x = _centres(width, long)
    along = (side * mirror)[:, None, None] * x[None, None, :]
    down = side[:, None, None] * y[None, :, None]
    cos = cos[:, None, None]
    sin = sin[:, None, None]
    photo_x = middle_x[:, None, None] + cos * along - sin * down
    photo_y = middle_y[:, None, None] + sin * along + cos * down
    grid = torch.stack([photo_x * (2 / photo_width) - 1, photo_y * (2 / photo_height) - 1], -1)

    level = (2 * (side / long).log2()).floor().long().clamp(0, len(source) - 1)
    results = torch.empty(n, 3, height, width)
    for i in level.unique().tolist():
        mine = (level == i).nonzero().flatten()
        # One tall picture: a batch would need a copy of the photograph for each crop.
        tall = grid[mine].reshape(1, len(mine) * height, width, 2)
        read = F.grid_sample(source[i][None], tall, mode="bilinear", padding_mode="border", align_corners=False)
        results[mine] = read.view(3, len(mine), height, width).transpose(0, 1)
    return results


def shares(n: int, count: int, rng: torch.Generator) -> list[int]:
    """How many of n crops come from each of `count` photographs: evenly, the remainder at random."""
    numbers = torch.full((count,), n // count)
    numbers[torch.randperm(count, generator=rng)[: n % count]] += 1
    return [int(number) for number in numbers]


def _centres(side: int, long: int) -> Tensor:
    """Pixel centres along a side, −½..½ where it is the longer one."""
    return (torch.arange(side, dtype=torch.float32) + 0.5 - side / 2) / long
