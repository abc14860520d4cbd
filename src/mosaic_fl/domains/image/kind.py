"""The kind `image`: 8-bit pixels at rest, float32 in −1..1 in a network."""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.image.augmentation import augment, draw_moves, moved
from mosaic_fl.domains.image.bounds import FITS, MAX_CHANNELS, MAX_SIDE, Fit
from mosaic_fl.domains.kind import Kind
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream

COLOUR = 3  # channels of photographs
# pixels of the shorter side: SMALL are digits, MEDIUM are MNIST and CIFAR
SMALL = 16
MEDIUM = 40


@dataclass(frozen=True)
class Image:
    """Images of one shape (channels, height, width); uint8 0..255 at rest.

    `fit` is the way in which pictures became squares. Raises UsageError for values out of bounds.
    """

    name: ClassVar[str] = "image"
    shape: tuple[int, int, int]
    fit: Fit = "pad"

    def __post_init__(self) -> None:
        channels, height, width = self.shape
        if not (1 <= channels <= MAX_CHANNELS and 1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise UsageError(
                f"image shape {self.shape} is out of bounds: 1..{MAX_CHANNELS} channels, 1..{MAX_SIDE} pixels a side"
            )
        if self.fit not in FITS:
            raise UsageError(f"fit is {str(self.fit)[:40]!r}: it can be {', '.join(FITS)}")

    @property
    def in_colour(self) -> bool:
        """Whether these are colour images: mostly photographs of objects, not drawings."""
        return self.shape[0] == COLOUR

    @property
    def drawn_well(self) -> bool:
        """True for grey images; small generators draw colour photographs blurred."""
        return not self.in_colour

    def check(self, values: Tensor) -> None:
        """Raise UsageError unless `values` are uint8 (n, channels, height, width)."""
        if values.dtype != torch.uint8 or tuple(values.shape[1:]) != self.shape:
            raise UsageError(
                f"images are {values.dtype} {tuple(values.shape)}, "
                f"the schema says uint8 (n, {', '.join(map(str, self.shape))})"
            )

    def zeros(self, n: int) -> Tensor:
        """Black images."""
        return torch.zeros(n, *self.shape, dtype=torch.uint8)

    def to_network(self, values: Tensor) -> Tensor:
        """uint8 0..255 -> float32 −1..1."""
        return values.to(torch.float32).div_(127.5).sub_(1.0)

    def to_rest(self, values: Tensor) -> Tensor:
        """Float −1..1 -> the nearest uint8 0..255; clamps."""
        return values.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)

    def augmentation(self, setting: str) -> str:
        """`setting`; "auto" is "shift_flip" for colour images, else "none": a mirrored digit is another sign."""
        if setting != "auto":
            return setting
        return "shift_flip" if self.in_colour else "none"

    def varied(self, values: Tensor, how: str, rng: torch.Generator) -> Tensor:
        """See `augmentation.augment`."""
        return augment(values, how, rng)

    def draw_changes(self, n: int, how: str, rng: torch.Generator) -> tuple[Tensor, ...]:
        """What `varied` draws for `n` images, on the CPU; `changed` takes it."""
        return draw_moves(n, self.shape[1], self.shape[2], how, rng)

    def changed(self, values: Tensor, *changes: Tensor) -> Tensor:
        """Varied images, without any draw: `varied` is `changed` by `draw_changes`."""
        return moved(values, *changes)

    def prior_source(self, setting: str) -> str:
        """`setting`; "auto" is "photos" for colour images, whose small generators are weak, and "none" for others."""
        if setting != "auto":
            return setting
        return "photos" if self.in_colour else "none"

    def check_prior(self, source: str) -> None:
        """Raise UsageError unless `source` is a kind of prior images or a folder with some."""
        from mosaic_fl.domains.image.prior import check_prior

        check_prior(source)

    def prior(self, source: str, n: int, stream: Stream) -> Tensor:
        """See `prior.prior_images`."""
        from mosaic_fl.domains.image.prior import prior_images

        return prior_images(source, n, self.shape, stream)

    def strange(self, n: int, stream: Stream) -> Tensor:
        """`n` public images at rest, half of them crops of photographs and half of them procedural."""
        photos = n // 2
        return torch.cat([self.prior("photos", photos, stream), self.prior("procedural", n - photos, stream)])

    def mixed(self, prior: Tensor, samples: Tensor, config: DistillConfig, seed: int) -> Tensor:
        """A share `config.hybrid` becomes hybrids; a share `config.cutmix` of the rest gets a patch of a sample."""
        from mosaic_fl.domains.image.prior import cutmix, hybrids

        first = round(config.hybrid * len(prior))
        hybrid_images = hybrids(prior[:first], samples, Stream(seed, "hybrid"))
        cutmix_images = cutmix(prior[first:], samples, config.cutmix, Stream(seed, "cutmix"))
        return torch.cat([hybrid_images, cutmix_images])

    def default_models(self) -> tuple[str, ...]:
        """Five different architectures that suit the size, cheap on a CPU."""
        side = min(self.shape[1:])
        if side <= SMALL:
            return "cnn:16", "mlp:64", "cnn:32", "mlp:128", "cnn:8"
        if side <= MEDIUM:
            return "cnn:16:3", "mlp:128", "cnn:8:3", "mlp:256:1", "cnn:16:2"
        return "cnn:16:4", "mlp:64", "cnn:8:4", "mlp:32:1", "cnn:12:4"

    def default_student(self) -> str:
        """A convolutional network that suits the size."""
        side = min(self.shape[1:])
        if side <= SMALL:
            return "cnn:32"
        return "cnn:32:3" if side <= MEDIUM else "cnn:16:5"

    @property
    def summary(self) -> str:
        """The shape in words, as "1×8×8 images"."""
        return f"{'×'.join(map(str, self.shape))} images"

    def difference(self, other: Kind) -> str:
        """The two shapes, or the two ways of fitting, in words."""
        if isinstance(other, Image) and other.shape == self.shape:
            return f"images fitted by {self.fit}, not by {other.fit}"
        ours = "×".join(map(str, self.shape))
        return f"images of {ours}, not {'×'.join(map(str, other.shape)) if other.name == self.name else other.name}"

    def to_json(self) -> dict[str, Any]:
        """As in version 1 of the file format, which had no fit: the default fit is left out."""
        fit = {} if self.fit == "pad" else {"fit": self.fit}
        return {"kind": "image", "shape": list(self.shape), "range": [0, 255], **fit}

    @classmethod
    def from_json(cls, value: object) -> "Image":
        """From JSON values that may come from anywhere; raises UsageError for anything but images."""
        match value:
            case {"kind": "image", "shape": [c, h, w], "range": [0, 255], **rest}:
                if all(type(side) is int for side in (c, h, w)):  # no bool
                    return cls((c, h, w), cast("Fit", rest.get("fit", "pad")))
        raise UsageError("the schema's images are none of 8 bits with a shape of (channels, height, width)")
