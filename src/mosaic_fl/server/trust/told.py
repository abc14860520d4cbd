"""What each client tells of its class moments, in the form in which they are compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.moments import ClassMoments, NoisyClassMoments
from mosaic_fl.numerics.noisy_sums import PRESENT
from mosaic_fl.server.class_moments import tells
from mosaic_fl.server.trust.comparable import is_comparable

FREEDOM = 30  # vectors above which a variance is known well enough
SURE = 4.0  # standard deviations of noise that a variance must stand above


@dataclass(frozen=True, eq=False)
class Told:
    """What one client tells: `counts` double (C,), `means` (C, d), `within` (d,), the variance within its classes.

    `errors` (C,) are the variances of a number of each mean by noise that was added. `within` is None where there are
    too few vectors, or noise hides it. `noise` is the standard deviation of the noise on a count: a class whose count
    does not stand out of it has none here.
    """

    counts: Tensor
    means: Tensor
    errors: Tensor
    within: Tensor | None
    noise: float = 0.0

    @classmethod
    def of(cls, member: ClassMoments) -> "Told":
        """What the moments tell, as they came: noisy sums are not repaired first."""
        if isinstance(member, NoisyClassMoments):
            return cls._of_noisy(member)
        moments = member.moments
        counts = moments.counts.double()
        squares = moments.scatter if moments.is_diagonal else moments.scatter.diagonal()
        freedom = float(counts.sum()) - int((counts > 0).sum())
        within = squares / freedom if freedom >= FREEDOM else None
        return cls(counts, moments.means, torch.zeros_like(counts), within)

    @classmethod
    def _of_noisy(cls, member: NoisyClassMoments) -> "Told":
        noisy = member.noisy.together
        on_count, on_sum, on_square = noisy.class_variances[:, 0].tolist()
        present = noisy.counts > PRESENT * on_count**0.5
        counts = torch.where(present, noisy.counts, 0.0)
        means = torch.where(present[:, None], noisy.sums / counts.clamp(min=1)[:, None], 0.0)
        size = means.shape[1]
        # Noise on the count c moves a mean m by m·noise/c.
        errors = (on_sum + on_count * means.square().mean(1)) / counts.clamp(min=1).square()
        total = float(counts.sum())
        rest = noisy.squares.diagonal() - (means.square() * counts[:, None]).sum(0)
        within = rest / max(total, 1.0)
        hidden = float(within.mean()) < SURE * (on_square / size) ** 0.5 / max(total, 1.0)
        usable = total >= FREEDOM and not hidden and bool((within > 0).all())
        return cls(counts, means, errors, within if usable else None, on_count**0.5)


def told_by(contributions: Sequence[Contribution]) -> dict[int, Told]:
    """What the clients tell, by place: of vectors as their generator, of pictures beside their model.

    Not of encoded rows: there a rare category of one site lies as far out as a lie.
    """
    told = dict[int, Told]()
    for k, contribution in enumerate(contributions):
        if not is_comparable(contribution.schema):
            continue
        member = contribution.build_generator() if tells(contribution) else None
        if contribution.moments is not None:
            member = contribution.moments.build(contribution.schema, f"client {contribution.client}")
        if isinstance(member, ClassMoments):
            told[k] = Told.of(member)
    return told
