"""A sampler of whose samples some count only if most of the other holders of their class call them so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.reading import answers_of, is_asked
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.pool import Pool, Sampler
from mosaic_fl.server.trust.agreement import VOICE, say_of
from mosaic_fl.server.trust.report import TrustReport
from mosaic_fl.server.trust.survey import classes_read


@dataclass(frozen=True)
class Sieve:
    """`labels` are by client the classes of which each sample is looked at, `claims` its counts (C,) as sent."""

    labels: Mapping[int, Sequence[int]]
    claims: Mapping[int, Tensor]


def sieve_of(contributions: Sequence[Contribution], report: TrustReport | None) -> Sieve | None:
    """The sieve that a report on `contributions`, as they came, asks for; None where nothing is sifted."""
    if report is None or not report.sifted:
        return None
    return Sieve(report.sifted, {c.client: c.class_counts for c in contributions})


def sifted_sampler_of(
    contributions: Sequence[Contribution], device: torch.device, experts: Sequence[Expert], sieve: Sieve | None
) -> Sampler:
    """As `sampler_of`, through a sieve, which is for samples of one field."""
    if sieve is None or contributions[0].schema.joins:
        return sampler_of(contributions, device, experts)
    return SiftedSampler(contributions, device, experts, sieve)


class SiftedSampler(Sampler):
    """The clients' generators; of the classes of a `sieve` samples are left out that other holders call otherwise.

    So there may be fewer samples than were asked for. A class in which no two others have a voice is not sifted.
    """

    def __init__(
        self, contributions: Sequence[Contribution], device: torch.device, experts: Sequence[Expert], sieve: Sieve
    ) -> None:
        super().__init__(contributions, device, experts)
        counts = torch.stack([c.class_counts for c in contributions])
        answering = torch.tensor([is_asked(expert) for expert in experts])
        self.experts = experts
        self.voices = (say_of(counts) >= VOICE) & answering[:, None]
        self.claims = [sieve.claims[c.client] for c in contributions]
        self.sifted = torch.zeros(counts.shape, dtype=torch.bool)
        for k, contribution in enumerate(contributions):
            self.sifted[k, list(sieve.labels.get(contribution.client, ()))] = True

    def draw(self, n: int, stream: Stream) -> Pool:
        """As `Sampler.draw`, sifted."""
        return self._sift(super().draw(n, stream))

    def draw_as_they_come(self, n: int, stream: Stream) -> Pool:
        """As `Sampler.draw_as_they_come`, sifted."""
        return self._sift(super().draw_as_they_come(n, stream))

    def draw_by_counts(self, n: int, stream: Stream) -> Pool:
        """As `Sampler.draw_by_counts`, sifted."""
        return self._sift(super().draw_by_counts(n, stream))

    def _sift(self, pool: Pool) -> Pool:
        places = torch.searchsorted(self.clients, pool.sources)
        rows = self.sifted[places, pool.labels].nonzero().flatten()
        stays = torch.ones(len(pool.labels), dtype=torch.bool)
        if len(rows):
            stays[rows] = self._vouched(_part(pool, rows), places[rows])
        return _part(pool, stays) if bool(stays.any()) else pool

    def _vouched(self, pool: Pool, places: Tensor) -> Tensor:
        """Whether at least half of the other holders call each sample as it was drawn, bool (n,)."""
        holders = torch.zeros(len(places))
        agreeing = torch.zeros(len(places))
        for k, expert in enumerate(self.experts):
            asked = self.voices[k][pool.labels] & (places != k)
            if bool(asked.any()):
                rows = asked.nonzero().flatten()
                read = classes_read(answers_of(expert, pool.samples[rows], self.device), self.claims[k])
                holders[rows] += 1
                agreeing[rows] += (read == pool.labels[rows, None]).any(1).float()
        return (holders < 2) | (agreeing >= holders / 2)


def _part(pool: Pool, rows: Tensor) -> Pool:
    return Pool(pool.samples[rows], pool.labels[rows], pool.sources[rows])
