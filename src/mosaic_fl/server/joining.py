"""Synthetic samples of several fields, each field from the generator of some client that has it, joined by class.

Whichever clients' generators they are, fields of one sample are independent given its class, as within one client's
generator (generators/product.py).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.generators.product import Product
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.experts import class_weights
from mosaic_fl.server.pool import Pool, Sampler

ABSENT = -1  # the source of a field that a sample lacks
WHOLE = 0.5  # share of the samples that keep all fields which somebody draws; of the others any subset is left


def sampler_of(
    contributions: Sequence[Contribution], device: torch.device, experts: Sequence[Expert] | None = None
) -> Sampler:
    """The sampler of contributions whose samples have one field, or several; raises UsageError as `Sampler` does."""
    joins = contributions[0].schema.joins
    return FieldSampler(contributions, device, experts) if joins else Sampler(contributions, device, experts)


class FieldSampler(Sampler):
    """The clients' generators of each field. `field_counts` (F, K, C) are their samples by field, client and class."""

    def __init__(
        self, contributions: Sequence[Contribution], device: torch.device, experts: Sequence[Expert] | None = None
    ) -> None:
        super().__init__(contributions, device, experts)
        self.members = [g.by_field() if isinstance(g, Product) else {} for g in self.generators]
        drawn = torch.tensor([[name in members for members in self.members] for name in self.kinds])
        counts = torch.stack([c.counts_by_field for c in contributions], 1)
        self.field_counts = counts * drawn[:, :, None]
        self.counts = self.field_counts.amax(0)

    def draw(self, n: int, stream: Stream) -> Pool:
        """n samples: classes evenly, and within a class each field from some client in proportion to w[k, c] of it."""
        rng = stream.torch()
        classes = self.counts.sum(0).nonzero().flatten()
        return self._joined(classes[torch.randperm(n, generator=rng) % len(classes)], rng)

    def draw_by_counts(self, n: int, stream: Stream) -> Pool:
        """As `draw`, with classes in proportion to the clients' samples."""
        rng = stream.torch()
        shares = self.counts.sum(0).double()
        return self._joined(torch.multinomial(shares, n, replacement=True, generator=rng), rng)

    def draw_as_they_come(self, n: int, stream: Stream) -> Pool:
        """As `draw_by_counts`: a joined sample comes from no one generator."""
        return self.draw_by_counts(n, stream)

    def draw_apart(self, n: int, stream: Stream) -> Pool:
        """n samples, each of the fields of one client; classes and clients as `Sampler.draw` draws them.

        `sources` are (n,).
        """
        rng = stream.torch()
        classes = self.counts.sum(0).nonzero().flatten()
        labels = classes[torch.randperm(n, generator=rng) % len(classes)]
        owners = torch.multinomial(class_weights(self.counts).T[labels], 1, generator=rng).flatten()
        has = self.field_counts[:, owners, labels].T > 0
        sources = torch.where(has, owners[:, None], ABSENT)
        return Pool(self._values(labels, sources, rng), labels, self.clients[owners])

    def draw_alone(self, k: int, labels: Tensor, rng: torch.Generator) -> Samples:
        """As `Sampler.draw_alone`: each sample has the fields that the client has of its class."""
        has = self.field_counts[:, k, labels].T > 0
        return self._values(labels, torch.where(has, k, ABSENT), rng)

    def _joined(self, labels: Tensor, rng: torch.Generator) -> Pool:
        """Samples of these classes, whose fields come from whoever draws them; some fields are left out."""
        sources = torch.full((len(labels), len(self.kinds)), ABSENT)
        for place, counts in enumerate(self.field_counts):
            held = (counts.sum(0)[labels] > 0).nonzero().flatten()
            if len(held):
                weights = class_weights(counts).T[labels[held]]
                sources[held, place] = torch.multinomial(weights, 1, generator=rng).flatten()
        sources[left_out(sources >= 0, rng)] = ABSENT
        numbers = torch.where(sources >= 0, self.clients[sources.clamp(min=0)], ABSENT)
        return Pool(self._values(labels, sources, rng), labels, numbers)

    def _values(self, labels: Tensor, sources: Tensor, rng: torch.Generator) -> Samples:
        """The samples whose fields are drawn by `sources` (n, F), the places of contributions, or `ABSENT`."""
        values = {name: kind.zeros(len(labels)) for name, kind in self.kinds.items()}
        for place, name in enumerate(self.kinds):
            for k, members in enumerate(self.members):
                mine = (sources[:, place] == k).nonzero().flatten()
                if len(mine):
                    drawn = members[name].samples({name: self.kinds[name]}, labels[mine], rng)
                    values[name][mine] = drawn.only
        present = {name: sources[:, place] >= 0 for place, name in enumerate(self.kinds)}
        return Samples(self.kinds, values, present)


def left_out(present: Tensor, rng: torch.Generator) -> Tensor:
    """Which fields of samples that have `present` (n, F) are left out: bool (n, F).

    None of a share `WHOLE` of the samples. Of each other one every field is left out as often as not, but for one that
    is drawn to stay.
    """
    some = torch.rand(len(present), 1, generator=rng) >= WHOLE
    out = torch.rand(present.shape, generator=rng) < 0.5
    order = torch.rand(present.shape, generator=rng).masked_fill(~present, -1.0)
    stays = torch.nn.functional.one_hot(order.argmax(1), present.shape[1]).bool()
    return present & some & out & ~stays
