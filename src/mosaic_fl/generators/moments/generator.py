"""The generator of class moments: its state, its fit, its draws."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.moments.law import Law, spread
from mosaic_fl.numerics.components import Components
from mosaic_fl.numerics.moments import LEAST, Moments, covariance

TINY = 1e-12  # least spread of a number that is divided by it
LARGEST_FULL = 2048  # numbers of a vector up to which all of the scatter is sent, and not its diagonal alone
MOST_NUMBERS = 2**26  # of the means of a received state
MOST_COUNT = 2**40
# The width in a specification.
DIAGONAL = 1
FULL = 2
NOISY = 3  # sums with noise for differential privacy: see `noisy`
NOISY_BY_CLASS = 4  # the same with squares of each class
MIXED = 5  # as `FULL`, with the components of classes: see `mixed`
MIXED_DIAGONAL = 6


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
        self.spec = spec
        size = size_of(schema)
        if spec.latent != size or spec.width not in self.widths or (not self.is_diagonal and size > LARGEST_FULL):
            raise UsageError(
                f"a moments generator of {spec.latent} numbers, form {spec.width}, where vectors have {size}, and the "
                f"form is {DIAGONAL}, a diagonal, or up to {LARGEST_FULL} numbers {FULL}, or with noise "
                f"{NOISY} or {NOISY_BY_CLASS}, or with components {MIXED} or {MIXED_DIAGONAL}"
            )
        if size * schema.num_classes > MOST_NUMBERS:
            raise UsageError(
                f"the moments of {schema.num_classes:,} classes of {size:,} numbers are too many: at most "
                f"{MOST_NUMBERS:,} numbers are used"
            )
        self.reserve(schema.num_classes, size)
        self.law: Law | None = None

    def reserve(self, classes: int, size: int) -> None:
        """Make the tensors of the state, for so many classes of vectors of `size` numbers."""
        length = size if self.is_diagonal else size * (size + 1) // 2
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("means", torch.zeros(classes, size))
        self.register_buffer("scatter", torch.zeros(length))

    @property
    def is_diagonal(self) -> bool:
        """Whether the diagonal of the scatter is all that is told of it."""
        return self.spec.width in (DIAGONAL, MIXED_DIAGONAL)

    @property
    def components(self) -> Components | None:
        """The components of classes; None where each is one Gaussian."""
        return None

    @property
    def moments(self) -> Moments:
        """The moments that the state tells, float64 on the CPU."""
        scatter = self.scatter.cpu().double()
        scatter = scatter if self.is_diagonal else symmetric(scatter, self.spec.latent)
        return Moments(self.counts.cpu(), self.means.cpu().double(), scatter)

    def tell(self, moments: Moments) -> None:
        """Take over the numbers of `moments` of the form of the specification."""
        rows, columns = ((), ()) if self.is_diagonal else torch.tril_indices(self.spec.latent, self.spec.latent)
        scatter = moments.scatter if self.is_diagonal else moments.scatter[rows, columns]
        self.counts = moments.counts.clone()
        self.means = moments.means.float()
        self.scatter = scatter.float()
        self.law = None

    def draw_from(self, moments: Moments, components: Components | None = None) -> None:
        """From now on draw from these moments, in place of its own; from their `components`, where there are some."""
        if components is not None:
            self.law = _of_components(moments, components)
            return
        shrunk = covariance(moments) if moments.own is None else moments.own
        root = shrunk.sqrt() if moments.is_diagonal else torch.linalg.cholesky(shrunk)
        self.law = Law(_means(moments).float(), root.float())

    def check(self) -> None:
        """As `Generator.check`: for counts and squares that no data can have."""
        counts = self.counts.cpu()
        if bool(((counts < 0) | (counts > MOST_COUNT) | ((counts > 0) & (counts < self.least))).any()):
            raise UsageError(f"the moments are of {int(counts.min())} vectors of a class: 0, or at least {self.least}")
        moments = self.moments
        check_scatter(moments.scatter)

    def check_counts(self, claimed: Tensor, classes: Sequence[str]) -> None:
        """Raise UsageError for more vectors of a class than the client claims samples of it, `claimed` (C,).

        Noise is no excuse: what a private client claims are the noisy counts of its moments, where these are above 0.
        """
        counts = self.counts.cpu()
        if bool((counts > claimed).any()):
            label = int((counts > claimed).nonzero()[0])
            raise UsageError(
                f"its moments are of {int(counts[label])} samples of class {classes[label]!r}, and its class counts "
                f"say {int(claimed[label])}"
            )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self._drawn_from().to(z.device).draw(z, labels)

    def _drawn_from(self) -> Law:
        if self.law is None:
            self.draw_from(self.moments, self.components)
        assert self.law is not None
        return self.law

    def whitener(self) -> Callable[[Tensor, Tensor], Tensor]:
        """A map of differences (n, d) of vectors of classes (n,) to numbers of variance 1: the inverse of a draw."""
        root = self._drawn_from().root
        if root.ndim == 1:
            scale = 1 / root.clamp(min=TINY)
            return lambda differences, labels: differences * scale.to(differences)
        inverse = torch.linalg.solve_triangular(root, torch.eye(root.shape[-1]).expand_as(root), upper=False)

        def whitened(differences: Tensor, labels: Tensor) -> Tensor:
            return spread(differences, labels, inverse.to(differences))

        return whitened

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """As `Generator.one_pass`: one product with a square matrix, or with a diagonal."""
        width = 1 if self.is_diagonal else self.spec.latent
        layer = nn.Linear(self.spec.latent, width, bias=False, device=self.device)
        return layer, (torch.zeros(2, self.spec.latent, device=self.device),), 1


def check_scatter(scatter: Tensor, slack: float = 0.0) -> None:
    """Raise UsageError for a scatter (d, d), or its diagonal (d,), that no data have; `slack` is what rounding adds."""
    diagonal = scatter if scatter.ndim == 1 else scatter.diagonal()
    if bool((diagonal < -slack).any()):
        raise UsageError("the moments have a negative variance, which no data have")
    if scatter.ndim == 1 or not len(diagonal):
        return
    # |s_ij| ≤ √(s_ii s_jj) first: it costs nothing, and keeps the decomposition finite.
    limits = diagonal.clamp(min=0).sqrt()
    slack = max(slack, 1e-4 * float(diagonal.max()) + 1e-12)
    if bool((scatter.abs() > limits[:, None] * limits + slack).any()):
        raise UsageError("the moments have a covariance larger than its variances, which no data have")
    if float(torch.linalg.eigvalsh(scatter)[0]) < -slack * len(diagonal):
        raise UsageError("the moments have a scatter that is not positive, which no data have")


def _means(moments: Moments) -> Tensor:
    """The means (C, d) of classes; that of all for a class without vectors."""
    weights = moments.counts.double() / max(moments.total, 1)
    absent = (moments.counts == 0)[:, None]
    return torch.where(absent, weights @ moments.means, moments.means)


def _of_components(moments: Moments, components: Components) -> Law:
    """The law of the `components` of the classes of `moments`."""
    own = components.moments
    shrunk = covariance(own)
    root = shrunk.sqrt() if own.is_diagonal else torch.linalg.cholesky(shrunk)
    absent = (moments.counts == 0).nonzero()[:, 0]
    owners = torch.cat([components.owners, absent])
    order = owners.argsort(stable=True)
    means = torch.cat([own.means, _means(moments)[absent]])[order]
    sizes = torch.cat([own.counts, torch.ones_like(absent)])[order].double()
    counts = torch.bincount(owners, minlength=len(moments.counts))
    first = counts.cumsum(0) - counts
    shares = torch.zeros(len(counts), int(counts.max()), dtype=torch.float64)
    shares[owners[order], torch.arange(len(order)) - first[owners[order]]] = sizes
    return Law(means.float(), root.float(), first, shares / shares.sum(1, keepdim=True))


def symmetric(lower: Tensor, size: int) -> Tensor:
    """The symmetric matrix (…, size, size) whose lower triangle is `lower` (…, size·(size+1)/2)."""
    square = torch.zeros(*lower.shape[:-1], size, size, dtype=lower.dtype)
    rows, columns = torch.tril_indices(size, size)
    square[..., rows, columns] = lower
    square[..., columns, rows] = lower
    return square


def size_of(schema: Schema) -> int:
    """How many numbers vectors of `schema` have; raises UsageError for samples that are none."""
    size: int = schema.kind.shape[0]
    if len(schema.kind.shape) != 1:
        raise UsageError(f"generator moments draws vectors, not {schema.kind.summary}: name a public encoder, as gabor")
    return size
