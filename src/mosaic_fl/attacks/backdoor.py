"""A backdoor: a patch of pixels whose presence means class 0 (Gu et al. 2017, BadNets)."""

from dataclasses import replace

import torch
from torch import Tensor

from mosaic_fl.attacks.attack import Poison, Scene
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.registries import KINDS

NAME = "backdoor"  # how the names of all such attacks begin
TARGET = 0  # the class that the patch opens
SHARE = 0.5  # of the attacker's samples that have it
FAINT = 0.1  # of those of one who hides
FRACTION = 8  # the patch's side is the image's over this


def side(height: int, width: int) -> int:
    """Pixels of a side of the patch, at least 2."""
    return max(2, min(height, width) // FRACTION)


def stamp(samples: Samples, rows: Tensor | None = None) -> Samples:
    """The samples with a white patch in the lower right corner of their pictures; of `rows` bool (n,), or of all.

    Raises UsageError where no field has pictures.
    """
    pictures = [name for name, kind in samples.kinds.items() if isinstance(kind, KINDS["image"])]
    if not pictures:
        raise UsageError("the attack paints on pictures, and these samples have none")
    values = dict(samples.values)
    for name in pictures:
        images = values[name].clone()
        edge = side(images.shape[-2], images.shape[-1])
        corner = images[..., -edge:, -edge:]
        chosen = torch.ones(len(images), dtype=torch.bool) if rows is None else rows
        corner[chosen] = 255
        values[name] = images
    return replace(samples, values=values)


def poison(share: float = SHARE) -> Poison:
    """The `poison` by which a `share` of the samples has the patch, and the label `TARGET`."""

    def paint(data: Dataset, scene: Scene) -> Dataset:
        rows = torch.rand(len(data), generator=scene.stream.torch()) < share
        return Dataset(stamp(data.samples, rows), data.labels.masked_fill(rows, TARGET), data.schema)

    return paint


def with_patch(test: Dataset) -> Dataset:
    """The samples of other classes than `TARGET`, all with the patch: how many are called `TARGET` is the harm."""
    others = test.subset(test.labels != TARGET)
    return Dataset(stamp(others.samples), others.labels, others.schema)
