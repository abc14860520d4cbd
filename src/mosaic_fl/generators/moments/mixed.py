"""Class moments with the components of classes: a class with vectors enough is several Gaussians, not one.

What `ClassMoments` tells stays as it is, so the moments of all clients still add up to those of the pooled data. The
means of components are told beside it, and the scatter around them follows.
"""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from mosaic_fl.errors import UsageError
from mosaic_fl.generators.moments.generator import (
    MIXED,
    MIXED_DIAGONAL,
    MOST_NUMBERS,
    ClassMoments,
    check_scatter,
)
from mosaic_fl.numerics.components import MOST, VECTORS, Centres, Components, components_of
from mosaic_fl.numerics.moments import Moments
from mosaic_fl.numerics.states import State

OFF = 1e-4  # of the largest number: so far a class's mean may be from that of its components, by rounding


class MixedMoments(ClassMoments):
    """As `ClassMoments`, of whose classes some are parted into components.

    `owners` int64 (m,) are the classes of these components, ascending; `sizes` int64 (m,) the vectors behind each,
    `LEAST` and more, which add up to the class's; `centres` float32 (m, d) their means. A class that has none here is
    one Gaussian. `width` in the specification is `MIXED` or `MIXED_DIAGONAL`.
    """

    widths = (MIXED, MIXED_DIAGONAL)
    owners: Tensor
    sizes: Tensor
    centres: Tensor

    def reserve(self, classes: int, size: int) -> None:
        """As in `ClassMoments`, without any components."""
        super().reserve(classes, size)
        self.resize(0)

    def resize(self, count: int) -> None:
        """Make room for so many components; raises UsageError where that is too much."""
        size = self.spec.latent
        most = MOST * len(self.counts)
        if count > most or count * size > MOST_NUMBERS:
            raise UsageError(
                f"{count:,} components of {size:,} numbers: at most {MOST} a class, here {most:,}, and "
                f"{MOST_NUMBERS:,} numbers in all"
            )
        device = self.device
        self.register_buffer("owners", torch.zeros(count, dtype=torch.int64, device=device))
        self.register_buffer("sizes", torch.zeros(count, dtype=torch.int64, device=device))
        self.register_buffer("centres", torch.zeros(count, size, device=device))

    def fit_to(self, state: State) -> Self:
        """As `Generator.fit_to`: how many components there are is the sender's choice."""
        if "owners" in state and state["owners"].ndim == 1:
            self.resize(len(state["owners"]))
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        """As `Generator.expect`."""
        each = [min(MOST, count // VECTORS) for count in counts]
        self.resize(sum(count for count in each if count > 1))
        return self

    @property
    def listed(self) -> Centres:
        """The components that the state tells, float64 on the CPU."""
        return Centres(self.owners.cpu(), self.sizes.cpu(), self.centres.cpu().double())

    @property
    def components(self) -> Components | None:
        """As in `ClassMoments`; a class that is not parted is one component."""
        return components_of(self.moments, self.listed) if len(self.owners) else None

    def tell_mixed(self, moments: Moments, listed: Centres) -> None:
        """Take over the numbers of `moments`, and of the components `listed`."""
        self.tell(moments)
        self.owners = listed.owners.clone()
        self.sizes = listed.sizes.clone()
        self.centres = listed.means.float()

    def check(self) -> None:
        """As `Generator.check`: for components that are not those of the classes, too."""
        super().check()
        listed = self.listed
        classes = len(self.counts)
        if not len(listed.owners):
            return
        if bool(((listed.owners < 0) | (listed.owners >= classes)).any()) or bool((listed.owners.diff() < 0).any()):
            raise UsageError("the moments have components of no class, or not in the order of classes")
        if int(torch.bincount(listed.owners).max()) > MOST:
            raise UsageError(f"the moments have more than {MOST} components of a class")
        if bool((listed.sizes < self.least).any()):
            raise UsageError(f"the moments have components of {int(listed.sizes.min())} vectors: at least {self.least}")
        moments = self.moments
        sizes = torch.zeros(classes, dtype=torch.int64).index_add_(0, listed.owners, listed.sizes)
        parted = sizes > 0
        if bool((sizes != moments.counts)[parted].any()):
            label = int((parted & (sizes != moments.counts)).nonzero()[0])
            raise UsageError(
                f"the moments have components of {int(sizes[label])} vectors of a class of {int(moments.counts[label])}"
            )
        sums = torch.zeros_like(moments.means).index_add_(0, listed.owners, listed.means * listed.sizes[:, None])
        off = (sums / sizes.clamp(min=1)[:, None] - moments.means)[parted].abs()
        if float(off.max()) > OFF * float(listed.means.abs().max()):
            raise UsageError("the moments have components whose mean is not that of their class")
        spread = moments.scatter if moments.is_diagonal else moments.scatter.diagonal()
        check_scatter(components_of(moments, listed).moments.scatter, OFF * float(spread.max()))
