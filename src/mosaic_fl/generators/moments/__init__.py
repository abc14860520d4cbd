"""`moments`: per class the count and mean of a client's vectors, and the scatter that all its classes share.

With `generator.components` a class of vectors enough is told as a few Gaussians of one covariance.

A pass over the data and no training. At the server all clients' moments add up to those of the pooled data, and every
generator draws from these, so the split does not matter (FedCGS; FedPFT draws from such Gaussians, too).
"""

from mosaic_fl.domains.vector import MAX_SIZE
from mosaic_fl.generators.family import Family
from mosaic_fl.generators.moments import exact
from mosaic_fl.generators.moments.exact import ExactMoments
from mosaic_fl.generators.moments.fit import build, check, spec, train
from mosaic_fl.generators.moments.generator import ClassMoments
from mosaic_fl.generators.moments.mixed import MixedMoments
from mosaic_fl.generators.moments.noisy import NoisyClassMoments, noisy_spec
from mosaic_fl.generators.moments.pooling import as_one, join, pool, pool_components

FAMILY = Family(
    conditional=True,
    kinds=frozenset({"vector"}),
    build=build,
    train=train,
    check=check,
    max_latent=MAX_SIZE,
    spec=spec,
    has_steps=False,
    join=join,
)
EXACT = Family(
    conditional=True,
    kinds=frozenset({"vector"}),
    build=ExactMoments,
    train=exact.train,
    check=exact.check,
    max_latent=MAX_SIZE,
    spec=exact.spec,
    has_steps=False,
    join=join,
)

__all__ = [
    "EXACT",
    "FAMILY",
    "ClassMoments",
    "ExactMoments",
    "MixedMoments",
    "NoisyClassMoments",
    "as_one",
    "noisy_spec",
    "pool",
    "pool_components",
]
