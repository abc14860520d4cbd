"""`mixtures`: a Gaussian mixture a class of a client's vectors, as FedPFT sends it (Beitollahi et al. 2024).

Expectation maximisation is scikit-learn's `GaussianMixture`, from one k-means start, with the tolerance and the number
of iterations of the authors' code. A class of fewer vectors than components has as many components as vectors, where
that code leaves the class out. No number has a least number of vectors behind it: the mean of a class of one vector is
that vector.
"""

import warnings
from typing import Any, Self

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import MAX_SIZE
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.family import Family
from mosaic_fl.generators.picking import pick, uniform
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.training.monitor import Monitor

NAME = "mixtures"
MOST_NUMBERS = 2**26  # of the spreads of a state
MOST_COUNT = 2**40
SLACK = 1e-3  # of a sum of weights
TOLERANCE = 1e-12
ITERATIONS = 10_000
LEAST_VARIANCE = 1e-6  # as a share of a class's mean variance, added to the variances of a component
TINY = 1e-12


class Mixtures(Generator):
    """x = m + L·z of the component (m, L) that the first latent picks; `width` in the specification is k components.

    `counts` int64 (C,) are the vectors behind each class; `weights` float32 (C, k) those of its components, 0 of those
    that there are not; `means` float32 (C, k, d). `spread` float32 is a standard deviation (C, k), one a number
    (C, k, d), or the lower triangle of L (C, k, d·(d+1)/2). A class without vectors is drawn at 0.
    """

    conditional = True
    counts: Tensor
    weights: Tensor
    means: Tensor
    spread: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """Mixtures of no vectors, with a deviation a number; raises UsageError for one that does not fit the schema."""
        super().__init__()
        size = _size(schema)
        if spec.latent != size + 1:
            raise UsageError(f"a {NAME} generator of {spec.latent} latents, where vectors have {size} numbers")
        self.spec = spec
        self.size = size
        self.register_buffer("counts", torch.zeros(schema.num_classes, dtype=torch.int64))
        self.register_buffer("weights", torch.zeros(schema.num_classes, spec.width))
        self.resize((size,))

    def resize(self, shape: tuple[int, ...]) -> None:
        """Make room for a spread of that shape a component; raises UsageError where that is too much."""
        components = self.weights.numel()
        numbers = components * (self.size + torch.Size(shape).numel())
        if numbers > MOST_NUMBERS:
            raise UsageError(
                f"{components:,} Gaussians of {self.size:,} numbers are {numbers:,} in all: at most {MOST_NUMBERS:,} "
                "are used; lower generator.width, or set generator.covariance to diagonal or spherical"
            )
        self.register_buffer("means", torch.zeros(*self.weights.shape, self.size, device=self.device))
        self.register_buffer("spread", torch.zeros(*self.weights.shape, *shape, device=self.device))

    def fit_to(self, state: State) -> Self:
        """As `Generator.fit_to`: the spread has one of its three shapes, or stays."""
        received = state["spread"].shape[2:] if "spread" in state else None
        for shape in _shapes(self.size).values():
            if shape == received:
                self.resize(shape)
        return self

    def check(self) -> None:
        """As `Generator.check`: for counts, weights and deviations that no mixture has."""
        if bool(((self.counts < 0) | (self.counts > MOST_COUNT)).any()):
            raise UsageError(f"the mixtures are of {int(self.counts.min())} vectors of a class: 0..{MOST_COUNT}")
        if not bool((self.counts > 0).any()):
            raise UsageError("the mixtures are of no vectors at all")
        sums = self.weights.sum(1)
        wrong = (self.weights < 0).any(1) | ((sums - (self.counts > 0).float()).abs() > SLACK)
        if not bool(self.weights.isfinite().all()) or bool(wrong.any()):
            raise UsageError(
                "the mixtures have weights below 0, or that do not add up to 1 in a class that has vectors"
            )
        if not bool(self.means.isfinite().all()) or not bool(self.spread.isfinite().all()):
            raise UsageError("the mixtures have numbers that are not finite")
        if self.spread.shape[2:] != _shapes(self.size)["full"] and bool((self.spread < 0).any()):
            raise UsageError("the mixtures have a negative deviation, which no data have")

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        place, _ = pick(self.weights[labels], uniform(z[:, 0]))
        noise = z[:, 1:]
        mean: Tensor = self.means[labels, place]
        if self.spread.shape[2:] != _shapes(self.size)["full"] or self.size == 1:
            return mean + noise * self.spread[labels, place].view(len(z), -1)
        rows, columns = torch.tril_indices(self.size, self.size, device=z.device)
        drawn = mean.clone()
        pairs = torch.stack([labels, place], 1)
        for label, component in pairs.unique(dim=0).tolist():  # a matrix a sample would not fit into memory
            root = torch.zeros(self.size, self.size, device=z.device)
            root[rows, columns] = self.spread[label, component]
            own = (labels == label) & (place == component)
            drawn[own] += noise[own] @ root.T
        return drawn

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """As `Generator.one_pass`: one product with a square matrix."""
        layer = nn.Linear(self.size, self.size, bias=False, device=self.device)
        return layer, (torch.zeros(2, self.size, device=self.device),), 1


def train(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> Mixtures:
    """A mixture of each class that the client has; raises MosaicError where one cannot be fitted."""
    generator = Mixtures(spec(config, data.schema), data.schema)
    generator.resize(_shapes(generator.size)[config.covariance])
    vectors = data.samples.only.double()
    generator.counts = data.class_counts()
    for label in range(data.schema.num_classes):
        own = vectors[data.labels == label]
        if len(own):
            seed = Stream(stream.seed, f"{stream.stage}/{NAME}", stream.client, label).integer() % 2**32
            weights, means, spread = _fit(own, config.width, config.covariance, seed)
            generator.weights[label, : len(weights)] = weights.float()
            generator.means[label, : len(weights)] = means.float()
            generator.spread[label, : len(weights)] = spread.float()
        monitor.progress(label + 1, data.schema.num_classes)
    return generator.eval()


def _fit(vectors: Tensor, components: int, covariance: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (k,), means (k, d) and spreads of the mixture of a class of `vectors` float64 (n, d)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    least = LEAST_VARIANCE * float(vectors.var(0, correction=0).mean()) + TINY
    if len(vectors) == 1:  # of which scikit-learn fits nothing
        size = vectors.shape[1]
        flat = torch.full(_shapes(size)["diagonal"], least**0.5, dtype=torch.float64)
        alone: Any = {"spherical": flat[:1].squeeze(), "diagonal": flat, "full": _lower(torch.diag(flat))}
        return torch.ones(1), vectors, alone[covariance][None]
    mixture = GaussianMixture(
        min(components, len(vectors)),
        covariance_type={"diagonal": "diag"}.get(covariance, covariance),
        tol=TOLERANCE,
        max_iter=ITERATIONS,
        reg_covar=least,
        random_state=seed,
    )
    try:
        with warnings.catch_warnings(), threadpool_limits(1):  # more threads would sum in another order
            warnings.simplefilter("ignore", ConvergenceWarning)  # equal vectors make fewer clusters
            mixture.fit(vectors.numpy())
    except ValueError as error:
        raise MosaicError(
            f"a class of {len(vectors)} vectors has no mixture of {mixture.n_components} components: lower "
            f"generator.width, or set generator.covariance to diagonal ({str(error).splitlines()[0]})"
        ) from error
    covariances = torch.from_numpy(mixture.covariances_)
    full = covariance == "full"
    spread = _lower(torch.linalg.cholesky(covariances)) if full else covariances.sqrt()
    return torch.from_numpy(mixture.weights_), torch.from_numpy(mixture.means_), spread


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """One latent picks the component, the others are as many as numbers; `generator.width` components."""
    return GeneratorSpec(NAME, _size(schema) + 1, config.width)


def check(config: GeneratorConfig, samples: int, schema: Schema, expert: nn.Module | None) -> None:
    """Raise UsageError for too many Gaussians of too many numbers."""
    with torch.device("meta"):
        generator = Mixtures(spec(config, schema), schema)
        generator.resize(_shapes(generator.size)[config.covariance])


def _shapes(size: int) -> dict[str, tuple[int, ...]]:
    """The shape of a component's spread, by `generator.covariance`."""
    return {"spherical": (), "diagonal": (size,), "full": (size * (size + 1) // 2,)}


def _lower(square: Tensor) -> Tensor:
    """The lower triangles (…, d·(d+1)/2) of matrices (…, d, d)."""
    rows, columns = torch.tril_indices(square.shape[-1], square.shape[-1])
    return square[..., rows, columns]


def _size(schema: Schema) -> int:
    size: int = schema.kind.shape[0]
    if not schema.of_vectors:
        raise UsageError(f"generator {NAME} draws vectors, not {schema.kind.summary}: name a public encoder, as gabor")
    return size


FAMILY = Family(
    conditional=True,
    kinds=frozenset({"vector"}),
    build=Mixtures,
    train=train,
    check=check,
    max_latent=MAX_SIZE + 1,
    spec=spec,
    has_steps=False,
)
