"""What the server asks of a generator, and how one is rebuilt from its specification."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.devices import AT_ONCE, images_at_once
from mosaic_fl.registries import GENERATORS

MAX_WIDTH = 1024  # that a received specification may ask for


@dataclass(frozen=True)
class GeneratorSpec:
    """All that is needed to rebuild a generator's network: family, size of the latent z, base width."""

    family: str
    latent: int
    width: int

    def __post_init__(self) -> None:
        most = GENERATORS.received(self.family).max_latent
        if not (1 <= self.latent <= most and 1 <= self.width <= MAX_WIDTH):
            raise UsageError(
                f"generator latent {self.latent}, width {self.width}: must lie in 1..{most}, 1..{MAX_WIDTH}"
            )

    @property
    def conditional(self) -> bool:
        """Whether labels steer what its generator draws."""
        return GENERATORS.received(self.family).conditional

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`."""
        return {"family": self.family, "latent": self.latent, "width": self.width}

    @classmethod
    def from_json(cls, value: object) -> "GeneratorSpec":
        """From JSON values that may come from anywhere; raises UsageError for anything but a specification."""
        match value:
            case {"family": str(family), "latent": latent, "width": width} if type(latent) is type(width) is int:
                return cls(family, latent, width)  # no bool
        raise UsageError("the generator's specification needs a family, a latent size and a width")


class Generator(nn.Module):
    """z float32 (n, latent) standard normal, labels int64 (n,) -> images (n, channels, height, width) in −1..1.

    `conditional` says whether labels steer what is generated; an unconditional generator ignores them.
    """

    conditional: bool
    spec: GeneratorSpec

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images for latents `z` and `labels`."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise UsageError where weights that may have been received cannot be a generator's; shapes fit already."""

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """(module, its inputs for a batch of two, how often it runs for a sample): where its work is done."""
        device = self.device
        return (
            self,
            (torch.zeros(2, self.spec.latent, device=device), torch.zeros(2, dtype=torch.int64, device=device)),
            1,
        )

    @property
    def device(self) -> torch.device:
        """Where its weights are; those of one that was not trained by gradients are buffers."""
        return next(iter([*self.parameters(), *self.buffers()])).device

    @torch.no_grad()
    def sample(self, labels: Tensor, rng: torch.Generator, batch: int = AT_ONCE) -> Tensor:
        """Images float32 (n, channels, height, width) in −1..1, one per label; `rng` gives z for `batch` at once.

        The draws are the CPU's, and the same however few a device then takes at once.
        """
        device = self.device
        was_training = self.training
        self.eval()
        images = list[Tensor]()
        few = images_at_once(device)
        for part in labels.split(batch):
            drawn = torch.randn(len(part), self.spec.latent, generator=rng)
            images += [self(z.to(device), y.to(device)) for z, y in zip(drawn.split(few), part.split(few), strict=True)]
        self.train(was_training)
        return torch.cat(images) if images else torch.empty(0, device=device)


def build(spec: GeneratorSpec, schema: Schema) -> Generator:
    """The generator that `spec` describes, freshly initialised from torch's ambient generator.

    Raises UsageError where its family draws no samples of this kind.
    """
    require_drawn(spec.family, schema)
    return GENERATORS.received(spec.family).build(spec, schema)


def require_drawn(family: str, schema: Schema) -> None:
    """Raise UsageError unless generators of `family` draw samples of this schema."""
    kinds = GENERATORS.received(family).kinds
    if schema.kind.name not in kinds:
        drawn = ", ".join(sorted(kinds))
        raise UsageError(
            f"generator {family} draws samples of the kind {drawn}, not {schema.kind.name}: set generator.family to "
            "one that does, or to none"
        )


def central(images: Tensor, height: int, width: int) -> Tensor:
    """The middle `height` × `width` pixels of images (n, channels, h, w) that are as large or larger."""
    top = (images.shape[2] - height) // 2
    left = (images.shape[3] - width) // 2
    # Contiguous, or each of the networks that look at a crop would copy it once more.
    return images[..., top : top + height, left : left + width].contiguous()
