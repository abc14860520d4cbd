"""Class moments with noise for differential privacy: what a site sends is the noisy sums, and nothing more exact."""

import torch
from torch import Tensor

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.moments.generator import (
    LARGEST_FULL,
    MOST_COUNT,
    MOST_NUMBERS,
    NOISY,
    NOISY_BY_CLASS,
    ClassMoments,
    symmetric,
)
from mosaic_fl.numerics.class_covariances import LARGEST
from mosaic_fl.numerics.moments import Moments
from mosaic_fl.numerics.noisy_sums import NoisySums, repaired

FAR = 10.0  # standard deviations: noise that is further out has a chance of 10⁻²³; of a vector, beyond √d of them
PARTS = 3  # counts, sums, squares
MOST_NOISE = 1e30
MOST_CLIP = 1e12


class NoisyClassMoments(ClassMoments):
    """As `ClassMoments`, of noisy sums.

    `counts` int64 (C,) may be negative; `sums` float32 (C, d); `squares` float32 is the lower triangle (d·(d+1)/2,) of
    Σ x xᵀ over all classes, or (C, d·(d+1)/2), that of each; `noise` float32 (3,) are the standard deviations of the
    noise on each, that of the squares on the diagonal (off it, divided by √2); `clip` float32 (1,) is the length of the
    longest vector. All of it is free to use: the noise is part of the release. `width` in the specification is `NOISY`,
    or `NOISY_BY_CLASS`.
    """

    widths = (NOISY, NOISY_BY_CLASS)
    sums: Tensor
    squares: Tensor
    noise: Tensor
    clip: Tensor

    def reserve(self, classes: int, size: int) -> None:
        """As in `ClassMoments`."""
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("sums", torch.zeros(classes, size))
        length = size * (size + 1) // 2
        if self.is_by_class and (size > LARGEST or classes * length > MOST_NUMBERS):
            raise UsageError(
                f"noisy squares of each of {classes:,} classes of {size:,} numbers: of up to {LARGEST} numbers, and "
                f"{MOST_NUMBERS:,} in all"
            )
        self.register_buffer("squares", torch.zeros((classes, length) if self.is_by_class else (length,)))
        self.register_buffer("noise", torch.ones(PARTS))
        self.register_buffer("clip", torch.ones(1))

    @property
    def is_by_class(self) -> bool:
        """Whether each class has squares of its own."""
        return self.spec.width == NOISY_BY_CLASS

    @property
    def noisy(self) -> NoisySums:
        """The sums that the state tells, float64 on the CPU."""
        return NoisySums(
            self.counts.cpu().double(),
            self.sums.cpu().double(),
            symmetric(self.squares.cpu().double(), self.spec.latent),
            self.noise.cpu().double().square(),
        )

    @property
    def moments(self) -> Moments:
        """The moments that follow from them."""
        return repaired(self.noisy)

    def tell_noisy(self, noisy: NoisySums, clip: float) -> None:
        """Take over noisy sums of vectors of the length `clip` at most."""
        rows, columns = torch.tril_indices(self.spec.latent, self.spec.latent)
        self.counts = noisy.counts.round().long()
        self.sums = noisy.sums.float()
        self.squares = noisy.squares[..., rows, columns].float()
        self.noise = noisy.variances.sqrt().float()
        self.clip = torch.tensor([clip], dtype=torch.float32)
        self.law = None

    def check(self) -> None:
        """As `Generator.check`: for sums that no data and no noise of this size give. They may be negative."""
        noise = self.noise.double().tolist()
        clip = float(self.clip)
        if not (0 < clip <= MOST_CLIP and all(0 < deviation <= MOST_NOISE for deviation in noise)):
            raise UsageError(
                f"noisy moments have noise {noise} of vectors of the length {clip:g}: both must be above 0"
            )
        size = self.spec.latent
        on_count, _, on_square = (FAR * deviation for deviation in noise)
        on_sum = (size**0.5 + FAR) * noise[1]
        counts = self.counts.double()
        if bool(((counts < -on_count) | (counts > MOST_COUNT)).any()):
            raise UsageError(f"noisy moments have {int(counts.min())} vectors of a class, less than its noise explains")
        most = counts.clamp(min=0) + on_count
        # A sum is no longer than its vectors together, and neither is a square larger than theirs.
        if bool((self.sums.double().norm(dim=1) > clip * most + on_sum).any()):
            raise UsageError("noisy moments have a sum longer than all vectors of its class and its noise")
        squares = self.squares.double()
        behind = most[:, None] if self.is_by_class else most.sum()
        if bool((squares.abs() > clip**2 * behind + on_square).any()):
            raise UsageError("noisy moments have squares larger than those of all vectors and their noise")
        diagonal = symmetric(self.squares.cpu().double(), self.spec.latent).diagonal(dim1=-2, dim2=-1)
        if bool((diagonal < -on_square).any()):
            raise UsageError("noisy moments have a negative square that their noise does not explain")


def noisy_spec(schema: Schema) -> GeneratorSpec:
    """The specification of noisy moments of vectors of a schema; raises UsageError for too many numbers.

    Each class has squares of its own where the vectors are nearly normal (`Vector.is_nearly_normal`), have no more than
    `LARGEST` numbers, and all squares are not too many.
    """
    kind = schema.kind
    size = kind.shape[0]
    if size > LARGEST_FULL:
        raise UsageError(
            f"private moments of vectors of {size:,} numbers: at most {LARGEST_FULL:,}; name another encoder"
        )
    numbers = schema.num_classes * size * (size + 1) // 2
    by_class = isinstance(kind, Vector) and kind.is_nearly_normal and size <= LARGEST and numbers <= MOST_NUMBERS
    return GeneratorSpec("moments", size, NOISY_BY_CLASS if by_class else NOISY)
