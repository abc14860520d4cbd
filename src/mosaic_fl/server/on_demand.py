"""Networks that are built when they are asked, and then forgotten: of many clients one at a time is in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.generators.base import Generator
from mosaic_fl.generators.family import no_join
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.panel import PANEL


@dataclass(frozen=True)
class ExpertOnDemand:
    """The network of a contribution, as an expert that is built for each question."""

    contribution: Contribution

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """As the expert's own."""
        return self.contribution.build_expert().log_probabilities(samples, device)


def expert_of(contribution: Contribution, clients: int) -> Expert:
    """The contribution's expert: a network of one of very many `clients` is built when it is asked."""
    few = clients <= PANEL or contribution.schema.joins
    return contribution.build_expert() if few or not _is_network(contribution) else ExpertOnDemand(contribution)


def built(expert: Expert) -> Expert:
    """The expert itself, to be asked again and again."""
    return expert.contribution.build_expert() if isinstance(expert, ExpertOnDemand) else expert


class GeneratorsOnDemand(Sequence[Generator | None]):
    """The generators of contributions in their order; the one that was asked for last is there, the others are not."""

    def __init__(self, contributions: Sequence[Contribution], device: torch.device) -> None:
        self.contributions = contributions
        self.device = device
        self._latest: tuple[int, Generator | None] = (-1, None)

    def __len__(self) -> int:
        return len(self.contributions)

    @overload
    def __getitem__(self, place: int) -> Generator | None: ...
    @overload
    def __getitem__(self, place: slice) -> list[Generator | None]: ...
    def __getitem__(self, place: int | slice) -> Generator | list[Generator | None] | None:
        if isinstance(place, slice):
            return [self[k] for k in range(*place.indices(len(self)))]
        contribution = self.contributions[place]  # an IndexError ends a loop
        if self._latest[0] != place:
            generator = contribution.build_generator()
            self._latest = (place, None if generator is None else generator.to(self.device))
        return self._latest[1]


def builds_generators_at_once(contributions: Sequence[Contribution]) -> bool:
    """Whether all generators are to exist at once: they are few, tell each other something, or take no class."""
    if len(contributions) <= PANEL or contributions[0].schema.joins:
        return True
    specs = [c.generator_spec for c in contributions if c.generator_spec is not None]
    return not all(spec.conditional and GENERATORS.received(spec.family).join is no_join for spec in specs)


def _is_network(contribution: Contribution) -> bool:
    return not contribution.is_black_box and kind_of(contribution.architecture) is NETWORK
