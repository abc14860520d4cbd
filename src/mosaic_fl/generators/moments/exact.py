"""`exact_moments`: as `moments`, of every class however few vectors it has, with twice the digits.

These are the statistics of FedCGS and of AFL: counts, class sums n_c·m_c and products XᵀX = S + Σ_c n_c·m_c·m_cᵀ, of
which the symmetric half is sent once. No number has a least number of vectors behind it: the mean of a class of one
vector is that vector. Mosaic's own clients send `moments`. AFL divides by XᵀX without any penalty, for which float32 is
too short.
"""

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.moments.generator import FULL, LARGEST_FULL, ClassMoments, size_of, symmetric
from mosaic_fl.numerics.moments import Moments, moments_of
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Monitor

NAME = "exact_moments"


class ExactMoments(ClassMoments):
    """As `ClassMoments`, with all of the scatter, and 48 binary digits a number.

    `means_rest` and `scatter_rest`, float32 of the shapes of `means` and `scatter`, are what rounding took from these.
    """

    least = 1
    means_rest: Tensor
    scatter_rest: Tensor

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """Moments of no vectors; raises UsageError for a specification of another schema, or that is too large."""
        super().__init__(spec, schema)
        if spec.width != FULL:
            raise UsageError(f"{NAME} has all of the scatter, and vectors of up to {LARGEST_FULL:,} numbers")
        self.register_buffer("means_rest", torch.zeros_like(self.means))
        self.register_buffer("scatter_rest", torch.zeros_like(self.scatter))

    @property
    def moments(self) -> Moments:
        """The moments that the state tells, float64 on the CPU."""
        means = self.means.cpu().double() + self.means_rest.cpu().double()
        scatter = self.scatter.cpu().double() + self.scatter_rest.cpu().double()
        return Moments(self.counts.cpu(), means, symmetric(scatter, self.spec.latent))

    def tell(self, moments: Moments) -> None:
        """Take over the numbers of `moments`."""
        super().tell(moments)
        rows, columns = torch.tril_indices(self.spec.latent, self.spec.latent)
        self.means_rest = (moments.means - self.means.double()).float()
        self.scatter_rest = (moments.scatter[rows, columns] - self.scatter.double()).float()


def train(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> ExactMoments:
    """The moments of `data`; nothing is random."""
    generator = ExactMoments(spec(config, data.schema), data.schema)
    generator.tell(moments_of(data.samples.only, data.labels, data.schema.num_classes))
    monitor.progress(1, 1)
    return generator.eval()


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """As many latents as numbers; raises UsageError for more than all of a scatter is sent of."""
    size = size_of(schema)
    if size > LARGEST_FULL:
        raise UsageError(
            f"{NAME} of vectors of {size:,} numbers: it takes up to {LARGEST_FULL:,}; name an encoder of fewer"
        )
    return GeneratorSpec(NAME, size, FULL)


def check(config: GeneratorConfig, samples: int, schema: Schema, expert: nn.Module | None) -> None:
    """Raise UsageError for too many classes of too many numbers."""
    with torch.device("meta"):
        ExactMoments(spec(config, schema), schema)
