"""What a public encoder is: a name, a digest, and a frozen map from values at rest to vectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.vector import Vector
from mosaic_fl.errors import UsageError

Encode = Callable[[Tensor, torch.device], Tensor]
Decode = Callable[[Tensor], Tensor]
Contents = Callable[[], Mapping[str, bytes]]


def deaf(count: int) -> None:
    """Hear nothing."""


@dataclass(frozen=True)
class Encoder:
    """A public encoder of values of the kind `of`.

    `network` maps `batch` values at rest (batch, …) to float32 (batch, `size`), on the device that it is given.
    `digest` is a SHA-256 in hexadecimal of all that decides the vectors: weights, version and settings. `trained_on`
    says in words what it has learnt from. `decode`, where there is one, maps float32 (n, `size`) to values at rest.
    `contents`, where there is one, gives the bytes by which each of its parts is made elsewhere, by the part's name.
    `smooth`, where there is one, is `network` of pictures in floats 0..1, through which gradients pass.
    """

    name: str
    digest: str
    size: int
    of: Kind
    trained_on: str
    network: Encode
    batch: int = 64
    decode: Decode | None = None
    contents: Contents | None = None
    smooth: Encode | None = None

    @property
    def kind(self) -> Vector:
        """The kind of its vectors, which sites compare."""
        return Vector(self.size, self.name, self.digest, self.of)

    @torch.no_grad()
    def vectors(self, values: Tensor, device: torch.device | str = "cpu", tell: Callable[[int], None] = deaf) -> Tensor:
        """Values at rest (n, …) -> float32 (n, size) on the CPU; `tell` hears how many values are encoded.

        Each call of the network has exactly `batch` values, the last one padded: so a value's vector does not depend on
        how many others come with it. Raises UsageError where a number of a vector is not finite.
        """
        place = torch.device(device)
        parts = list[Tensor]()
        for start in range(0, len(values), self.batch):
            part = values[start : start + self.batch]
            padded = torch.cat([part, self.of.zeros(self.batch - len(part)).to(part.device)])
            vectors = self.network(padded, place)[: len(part)].cpu()
            if vectors.dtype != torch.float32 or tuple(vectors.shape) != (len(part), self.size):
                raise UsageError(
                    f"encoder {self.name} gives {vectors.dtype} {tuple(vectors.shape)}, not float32 (n, {self.size})"
                )
            if not bool((whole := vectors.isfinite().all(1)).all()):
                row = start + int((~whole).nonzero()[0])
                raise UsageError(f"encoder {self.name} gives sample {row} a vector that is not finite")
            parts.append(vectors)
            tell(start + len(part))
        return torch.cat(parts) if parts else torch.zeros(0, self.size)
