"""The interface of a generator, and the specification from which the server rebuilds one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Samples, concatenate, from_network
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.devices import AT_ONCE, images_at_once
from mosaic_fl.numerics.states import State
from mosaic_fl.registries import GENERATORS

MAX_WIDTH = 1024  # of a received specification


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
        """Whether its generator draws samples of a given class."""
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

    A `conditional` generator draws samples of the classes `labels`; an unconditional one ignores them.
    """

    conditional: bool
    spec: GeneratorSpec

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images for latents `z` and `labels`."""
        raise NotImplementedError

    def fit_to(self, state: State) -> Self:
        """Itself, with room for a received `state`, where the sizes of some of its tensors are the sender's choice."""
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        """Itself, with tensors of the sizes that training on so many samples a class gives them, at most."""
        return self

    def check(self) -> None:
        """Raise UsageError where received weights are not valid for this generator; their shapes are checked before."""

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """(module that does the work, inputs for a batch of two, passes for one sample), to estimate its cost."""
        device = self.device
        return (
            self,
            (torch.zeros(2, self.spec.latent, device=device), torch.zeros(2, dtype=torch.int64, device=device)),
            1,
        )

    @property
    def device(self) -> torch.device:
        """The device of its weights; a generator that is not trained by gradients has only buffers."""
        return next(iter([*self.parameters(), *self.buffers()])).device

    @torch.no_grad()
    def sample(self, labels: Tensor, rng: torch.Generator, batch: int = AT_ONCE) -> Tensor:
        """Images float32 (n, channels, height, width) in −1..1, one per label; `rng` draws z for `batch` at once.

        The draws are made on the CPU. They do not depend on how many samples the device takes at once.
        """
        device = self.device
        was_training = self.training
        self.eval()
        images = list[Tensor]()
        few = images_at_once(device)
        for part in labels.split(batch):
            latents = torch.randn(len(part), self.spec.latent, generator=rng)
            images += [
                self(z.to(device), y.to(device)) for z, y in zip(latents.split(few), part.split(few), strict=True)
            ]
        self.train(was_training)
        return torch.cat(images) if images else torch.empty(0, device=device)

    def samples(self, kinds: Mapping[str, Kind], labels: Tensor, rng: torch.Generator) -> Samples:
        """Samples at rest of these `kinds`, one per label, on the CPU; see `sample`.

        Raises UsageError where what is drawn is not finite.
        """
        parts = list[Samples]()
        for part in labels.split(AT_ONCE):
            outputs = self.sample(part, rng)
            if not bool(outputs.isfinite().all()):
                family = self.spec.family
                raise UsageError(f"a generator ({family}) gives non-finite samples: leave its contribution out")
            parts.append(from_network(kinds, outputs).to("cpu"))
        return concatenate(parts)


def build(spec: GeneratorSpec, schema: Schema) -> Generator:
    """The generator that `spec` describes, freshly initialised from torch's ambient generator.

    Raises UsageError where its family draws no samples of this kind.
    """
    require_kind(spec.family, schema)
    return GENERATORS.received(spec.family).build(spec, schema)


def require_kind(family: str, schema: Schema) -> None:
    """Raise UsageError unless generators of `family` draw samples of this schema."""
    kinds = GENERATORS.received(family).kinds
    if schema.kind.name not in kinds:
        names = ", ".join(sorted(kinds))
        raise UsageError(
            f"generator {family} draws samples of the kind {names}, not {schema.kind.name}: set generator.family to "
            "one that does, or to none"
        )


def central(images: Tensor, height: int, width: int) -> Tensor:
    """The middle `height` × `width` pixels of images (n, channels, h, w) that are as large or larger."""
    top = (images.shape[2] - height) // 2
    start = (images.shape[3] - width) // 2
    # Contiguous: otherwise each network that takes the crop would copy it again.
    return images[..., top : top + height, start : start + width].contiguous()
