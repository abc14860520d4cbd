"""The generator of class moments: its state, its fit, its draws."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.numerics.moments import LEAST, Moments, covariance, moments_of
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Monitor

TINY = 1e-12  # least spread of a number that is divided by it
LARGEST_FULL = 2048  # numbers of a vector up to which all of the scatter is sent, and not its diagonal alone
MOST_NUMBERS = 2**26  # of the means of a received state
MOST_COUNT = 2**40
# The width in a specification.
DIAGONAL = 1
FULL = 2
NOISY = 3  # sums with noise for differential privacy: see `noisy`
NOISY_BY_CLASS = 4  # the same with squares of each class


class ClassMoments(Generator):
    """x = m_y + Σ^½ z, a Gaussian a class with one covariance.

    `counts` int64 (C,) are the vectors behind each class, 0 or `LEAST` and more; `means` float32 (C, d); `scatter`
    float32 is the lower triangle (d·(d+1)/2,) of the sum of squares around the means, or its diagonal (d,). `width` in
    the specification is `FULL` or `DIAGONAL`. A class without vectors is drawn from the mean of all.
    """

    conditional = True
    widths: tuple[int, ...] = (DIAGONAL, FULL)
    least = LEAST
    counts: Tensor
    means: Tensor
    scatter: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """Moments of no vectors; raises UsageError for a specification of another schema, or that is too large."""
        super().__init__()
        size = _size(schema)
        if spec.latent != size or spec.width not in self.widths or (spec.width != DIAGONAL and size > LARGEST_FULL):
            raise UsageError(
                f"a moments generator of {spec.latent} numbers, form {spec.width}, where vectors have {size}, and the "
                f"form is {DIAGONAL}, a diagonal, or up to {LARGEST_FULL} numbers {FULL}, or with noise "
                f"{NOISY} or {NOISY_BY_CLASS}"
            )
        if size * schema.num_classes > MOST_NUMBERS:
            raise UsageError(
                f"the moments of {schema.num_classes:,} classes of {size:,} numbers are too many: at most "
                f"{MOST_NUMBERS:,} numbers are used"
            )
        self.spec = spec
        self.reserve(schema.num_classes, size)
        self.law: tuple[Tensor, Tensor] | None = None

    def reserve(self, classes: int, size: int) -> None:
        """Make the tensors of the state, for so many classes of vectors of `size` numbers."""
        length = size * (size + 1) // 2 if self.spec.width == FULL else size
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("means", torch.zeros(classes, size))
        self.register_buffer("scatter", torch.zeros(length))

    @property
    def moments(self) -> Moments:
        """The moments that the state tells, float64 on the CPU."""
        scatter = self.scatter.cpu().double()
        scatter = symmetric(scatter, self.spec.latent) if self.spec.width == FULL else scatter
        return Moments(self.counts.cpu(), self.means.cpu().double(), scatter)

    def tell(self, moments: Moments) -> None:
        """Take over the numbers of `moments` of the form of the specification."""
        rows, columns = torch.tril_indices(self.spec.latent, self.spec.latent) if self.spec.width == FULL else ((), ())
        scatter = moments.scatter[rows, columns] if self.spec.width == FULL else moments.scatter
        self.counts = moments.counts.clone()
        self.means = moments.means.float()
        self.scatter = scatter.float()
        self.law = None

    def draw_from(self, moments: Moments) -> None:
        """From now on draw from these moments, in place of its own."""
        shrunk = covariance(moments) if moments.own is None else moments.own
        root = shrunk.sqrt() if moments.is_diagonal else torch.linalg.cholesky(shrunk)
        weights = moments.counts.double() / max(moments.total, 1)
        absent = (moments.counts == 0)[:, None]
        means = torch.where(absent, weights @ moments.means, moments.means)
        self.law = (means.float(), root.float())

    def check(self) -> None:
        """As `Generator.check`: for counts and squares that no data can have."""
        counts = self.counts.cpu()
        if bool(((counts < 0) | (counts > MOST_COUNT) | ((counts > 0) & (counts < self.least))).any()):
            raise UsageError(f"the moments are of {int(counts.min())} vectors of a class: 0, or at least {self.least}")
        moments = self.moments
        diagonal = moments.scatter if moments.is_diagonal else moments.scatter.diagonal()
        if bool((diagonal < 0).any()):
            raise UsageError("the moments have a negative variance, which no data have")
        if moments.is_diagonal or not len(diagonal):
            return
        # |s_ij| ≤ √(s_ii s_jj) first: it costs nothing, and keeps the decomposition finite.
        limits = diagonal.sqrt()
        slack = 1e-4 * float(diagonal.max()) + 1e-12
        if bool((moments.scatter.abs() > limits[:, None] * limits + slack).any()):
            raise UsageError("the moments have a covariance larger than its variances, which no data have")
        if float(torch.linalg.eigvalsh(moments.scatter)[0]) < -slack * len(diagonal):
            raise UsageError("the moments have a scatter that is not positive, which no data have")

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        means, root = (tensor.to(z.device) for tensor in self._drawn_from())
        drawn: Tensor = means[labels] + _spread(z, labels, root)
        return drawn

    def _drawn_from(self) -> tuple[Tensor, Tensor]:
        if self.law is None:
            self.draw_from(self.moments)
        assert self.law is not None
        return self.law

    def whitener(self) -> Callable[[Tensor, Tensor], Tensor]:
        """A map of differences (n, d) of vectors of classes (n,) to numbers of variance 1: the inverse of a draw."""
        _, root = self._drawn_from()
        if root.ndim == 1:
            scale = 1 / root.clamp(min=TINY)
            return lambda differences, labels: differences * scale.to(differences)
        inverse = torch.linalg.solve_triangular(root, torch.eye(root.shape[-1]).expand_as(root), upper=False)

        def whitened(differences: Tensor, labels: Tensor) -> Tensor:
            return _spread(differences, labels, inverse.to(differences))

        return whitened

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """As `Generator.one_pass`: one product with a square matrix, or with a diagonal."""
        width = 1 if self.spec.width == DIAGONAL else self.spec.latent
        layer = nn.Linear(self.spec.latent, width, bias=False, device=self.device)
        return layer, (torch.zeros(2, self.spec.latent, device=self.device),), 1


def _spread(z: Tensor, labels: Tensor, root: Tensor) -> Tensor:
    """Normal draws z (n, d) spread by the root of a covariance: a diagonal (d,), (d, d), or one a class (C, d, d)."""
    if root.ndim == 1:
        return z * root
    if root.ndim == 2:
        return z @ root.T
    spread = torch.empty_like(z)
    for label in labels.unique().tolist():
        rows = labels == label
        spread[rows] = z[rows] @ root[label].T
    return spread


def train(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> ClassMoments:
    """The moments of `data`; nothing is random."""
    generator = ClassMoments(spec(config, data.schema), data.schema)
    diagonal = generator.spec.width == DIAGONAL
    generator.tell(moments_of(data.samples.only, data.labels, data.schema.num_classes, least=LEAST, diagonal=diagonal))
    monitor.progress(1, 1)
    return generator.eval()


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """As many latents as numbers; the form by their number."""
    size = _size(schema)
    return GeneratorSpec("moments", size, FULL if size <= LARGEST_FULL else DIAGONAL)


def check(config: GeneratorConfig, samples: int, schema: Schema, expert: nn.Module | None) -> None:
    """Raise UsageError for too many classes of too many numbers."""
    with torch.device("meta"):
        ClassMoments(spec(config, schema), schema)


def symmetric(lower: Tensor, size: int) -> Tensor:
    """The symmetric matrix (…, size, size) whose lower triangle is `lower` (…, size·(size+1)/2)."""
    square = torch.zeros(*lower.shape[:-1], size, size, dtype=lower.dtype)
    rows, columns = torch.tril_indices(size, size)
    square[..., rows, columns] = lower
    square[..., columns, rows] = lower
    return square


def _size(schema: Schema) -> int:
    size: int = schema.kind.shape[0]
    if len(schema.kind.shape) != 1:
        raise UsageError(f"generator moments draws vectors, not {schema.kind.summary}: name a public encoder, as gabor")
    return size
