"""The class moments of several clients together."""

from collections.abc import Sequence

from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.moments.generator import MIXED, MIXED_DIAGONAL, ClassMoments
from mosaic_fl.generators.moments.mixed import MixedMoments
from mosaic_fl.generators.moments.noisy import NoisyClassMoments
from mosaic_fl.numerics.components import Centres, Components, components_of, reduced, together, union
from mosaic_fl.numerics.moments import Moments, merge
from mosaic_fl.numerics.noise_weights import weighted
from mosaic_fl.numerics.noisy_sums import joined, repaired, sums_of


def pool(members: Sequence[ClassMoments]) -> Moments:
    """The moments of all clients' data together.

    Where some are noisy their sums are joined, with the weights that their noise deserves, and then noise is removed.
    """
    if not any(isinstance(member, NoisyClassMoments) for member in members):
        return merge([member.moments for member in members])
    sums = [m.noisy if isinstance(m, NoisyClassMoments) else sums_of(m.moments) for m in members]
    return repaired(joined(weighted(sums)))


def pool_components(members: Sequence[ClassMoments]) -> Components | None:
    """The components of all clients' classes beside each other, a few of each class; see `reduced`.

    A class that a client told as one Gaussian is one component of it. None where no client told more, or where some
    told noisy moments: noise is only taken from sums of all.
    """
    if any(isinstance(member, NoisyClassMoments) for member in members):
        return None
    parts = [member.components for member in members]
    if all(part is None for part in parts):
        return None
    none = together([], members[0].spec.latent)
    every = [part or components_of(member.moments, none) for part, member in zip(parts, members, strict=True)]
    return reduced(union(every))


def join(generators: Sequence[Generator]) -> None:
    """All draw from the moments of their data together."""
    members = [generator for generator in generators if isinstance(generator, ClassMoments)]
    pooled = pool(members)
    components = pool_components(members)
    for member in members:
        member.draw_from(pooled, components)


def as_one(members: Sequence[ClassMoments], schema: Schema) -> ClassMoments:
    """The moments of all `members`, none of them noisy, as those of one client, with their components."""
    pooled = pool(members)
    components = pool_components(members)
    first = members[0]
    if components is None:
        first.tell(pooled)
        return first
    width = MIXED_DIAGONAL if pooled.is_diagonal else MIXED
    mixed = MixedMoments(GeneratorSpec(first.spec.family, first.spec.latent, width), schema)
    own = components.moments
    mixed.tell_mixed(pooled, Centres(components.owners, own.counts, own.means))
    return mixed
