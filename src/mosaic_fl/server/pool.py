"""Labelled synthetic samples from the clients' generators (docs/method.md, lesson 4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples, concatenate
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.kind import Expert
from mosaic_fl.generators.base import Generator, join
from mosaic_fl.generators.family import no_join
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.experts import class_weights
from mosaic_fl.server.on_demand import GeneratorsOnDemand, builds_generators_at_once

DRAWS = 20  # rounds of rejection sampling for an unconditional generator
MOST_AT_ONCE = 4096
LARGEST_SHARES = 2**22  # shares of clients in samples that exist at once: 16 MiB


@dataclass(frozen=True)
class Pool:
    """n synthetic `samples` at rest, their `labels` int64 (n,), and `sources` (n,), the clients that drew them.

    Where samples have several fields that were joined, sources are (n, F), −1 for a field that a sample lacks.
    """

    samples: Samples
    labels: Tensor
    sources: Tensor


class Sampler:
    """The clients' generators, to draw from again and again."""

    def __init__(
        self, contributions: Sequence[Contribution], device: torch.device, experts: Sequence[Expert] | None = None
    ) -> None:
        """`experts` are those of the contributions, where these are built already; here they only give their word.

        Of very many clients a generator is built when it is asked (`on_demand`).

        Raises UsageError where no contribution has a generator.
        """
        self.counts = torch.stack([c.class_counts * (c.generator is not None) for c in contributions])
        if not int(self.counts.sum()):
            reasons = "; ".join(f"client {c.client}: {c.generator_note}" for c in contributions)
            raise UsageError(f"no contribution has a generator, so there is nothing to distil on ({reasons})")
        self.contributions = contributions
        self.device = device
        self.kinds = contributions[0].schema.fields
        self.clients = torch.tensor([c.client for c in contributions])
        self.judges: dict[int, Expert] = {}
        self.generators: Sequence[Generator | None]
        if not builds_generators_at_once(contributions):
            self.generators = GeneratorsOnDemand(contributions, device)
            return
        self.generators = [c.build_generator() for c in contributions]
        join([generator for generator in self.generators if generator is not None])
        for k, generator in enumerate(self.generators):
            if generator is not None and not generator.to(device).conditional:
                self.judges[k] = contributions[k].build_expert() if experts is None else experts[k]

    def draw(self, n: int, stream: Stream) -> Pool:
        """n samples: classes drawn evenly, and within a class from each client's generator in proportion to w[k, c].

        Only classes that some client with a generator holds can be drawn. What an unconditional generator shows is
        what its own client's expert says it is; where that expert never says a class, the class is left out, so there
        may be fewer than n. Raises UsageError where nothing is left.
        """
        rng = stream.torch()
        classes = self.counts.sum(0).nonzero().flatten()
        labels = classes[torch.randperm(n, generator=rng) % len(classes)]
        shares = class_weights(self.counts).T
        parts = labels.split(max(1, LARGEST_SHARES // len(self.counts)))  # as all at once, to the bit
        sources = torch.cat([torch.multinomial(shares[part], 1, generator=rng).flatten() for part in parts])
        values = {name: kind.zeros(n) for name, kind in self.kinds.items()}
        filled = torch.zeros(n, dtype=torch.bool)
        for k, mine in _places_of(sources):
            generator = self.generators[k]
            if generator is None:
                continue
            if k in self.judges:
                self._by_rejection(k, labels, mine, values, filled, rng)
            else:
                _put(generator.samples(self.kinds, labels[mine], rng), values, mine)
                filled[mine] = True
        if not bool(filled.any()):
            raise UsageError("no generator shows what its client's expert knows: train the generators for longer")
        return Pool(Samples(self.kinds, values)[filled], labels[filled], self.clients[sources[filled]])

    def draw_apart(self, n: int, stream: Stream) -> Pool:
        """As `draw`, each sample from one client alone, also where samples have several fields."""
        return self.draw(n, stream)

    def classes_alone(self, k: int) -> Tensor:
        """The classes (C,) of which the generator at place k draws by itself: of moments those that are told."""
        generator = self.generators[k]
        held: Tensor = self.counts[k] > 0
        return held & (generator.counts.cpu() > 0) if isinstance(generator, ClassMoments) else held

    def draw_alone(self, k: int, labels: Tensor, rng: torch.Generator) -> Samples:
        """Samples for `labels` (n,) of the generator at place k by itself, to which no other has told anything.

        An unconditional one ignores the labels. Raises UsageError where what is drawn is not finite.
        """
        generator = self.generators[k]
        assert generator is not None
        if GENERATORS.received(generator.spec.family).join is not no_join:
            generator = self.contributions[k].build_generator()
            assert generator is not None
            generator.to(self.device)
        return generator.samples(self.kinds, labels, rng)

    def draw_as_they_come(self, n: int, stream: Stream) -> Pool:
        """n samples, from each generator as many, or one more, classes as they fall (the paper's batches).

        Which generators give one more is drawn at random, so that small batches do not always leave out the same ones.
        A conditional generator is asked for its client's own class distribution; an unconditional one shows what its
        client's expert says.
        """
        rng = stream.torch()
        owners = [k for k, contribution in enumerate(self.contributions) if contribution.generator is not None]
        shares = torch.full((len(owners),), n // len(owners))
        more = n % len(owners)
        if more:
            shares[torch.randperm(len(owners), generator=rng)[:more]] += 1
        parts = list[Pool]()
        for k, share in zip(owners, shares.tolist(), strict=True):
            if not share:
                continue
            generator = self.generators[k]
            assert generator is not None
            labels = torch.multinomial(self.counts[k].float(), share, replacement=True, generator=rng)
            samples = generator.samples(self.kinds, labels, rng)
            if k in self.judges:
                labels = self.judges[k].log_probabilities(samples, generator.device).argmax(1)
            parts.append(Pool(samples, labels, self.clients[[k] * share]))
        labels = torch.cat([part.labels for part in parts])
        sources = torch.cat([part.sources for part in parts])
        return Pool(concatenate([part.samples for part in parts]), labels, sources)

    def draw_by_counts(self, n: int, stream: Stream) -> Pool:
        """n samples as the clients' data lie: client and class together are drawn in proportion to n_k[c].

        What an unconditional generator shows is what its own client's expert says it is.
        """
        rng = stream.torch()
        classes = self.counts.shape[1]
        cells = torch.multinomial(self.counts.flatten().double(), n, replacement=True, generator=rng)
        rows = cells // classes
        labels = cells % classes
        values = {name: kind.zeros(n) for name, kind in self.kinds.items()}
        for k, mine in _places_of(rows):
            generator = self.generators[k]
            if generator is None:
                continue
            samples = generator.samples(self.kinds, labels[mine], rng)
            _put(samples, values, mine)
            if k in self.judges:
                labels[mine] = self.judges[k].log_probabilities(samples, generator.device).argmax(1)
        return Pool(Samples(self.kinds, values), labels, self.clients[rows])

    def _by_rejection(
        self, k: int, labels: Tensor, places: Tensor, values: dict[str, Tensor], filled: Tensor, rng: torch.Generator
    ) -> None:
        """Fill `values` at `places` with samples that expert k gives the place's label; marks them in `filled`."""
        generator = self.generators[k]
        assert generator is not None
        for _ in range(DRAWS):
            vacant = places[~filled[places]]
            if not len(vacant):
                return
            batch = min(MOST_AT_ONCE, max(256, 2 * len(vacant)))
            samples = generator.samples(self.kinds, torch.zeros(batch, dtype=torch.int64), rng)
            classes = self.judges[k].log_probabilities(samples, generator.device).argmax(1)
            for label in classes.unique().tolist():
                of_label = vacant[labels[vacant] == label]
                candidates = (classes == label).nonzero().flatten()
                fits = min(len(of_label), len(candidates))
                _put(samples[candidates[:fits]], values, of_label[:fits])
                filled[of_label[:fits]] = True


def of_sources(values: Tensor, clients: Tensor, sources: Tensor, labels: Tensor) -> Tensor:
    """`values` (K, C) by client and class for n samples of these `sources` and `labels` (n,): (n,).

    `clients` (K,) are in order. For sources (n, F) it is the mean over the fields that a sample has, at least one.
    """
    if sources.ndim == 1:
        return values[torch.searchsorted(clients, sources), labels]
    present = sources >= 0
    each = values[torch.searchsorted(clients, sources.clamp(min=int(clients[0]))), labels[:, None]]
    return (each * present).sum(1) / present.sum(1)


def _places_of(sources: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(k, the places int64 (m,) at which `sources` (n,) is k) for each k that is there, ascending."""
    for k in sources.unique().tolist():
        yield k, (sources == k).nonzero().flatten()


def _put(samples: Samples, values: dict[str, Tensor], places: Tensor) -> None:
    for name, rows in samples.values.items():
        values[name][places] = rows


def sheet(contribution: Contribution, per_class: int, stream: Stream) -> Tensor | None:
    """The one field's values at rest (C, per_class, …): what the generator shows of each class, to look at.

    Classes that it does not hold are 0. None where there is no generator.
    """
    if contribution.generator is None:
        return None
    classes_held = int((contribution.class_counts > 0).sum())
    try:
        pool = Sampler([contribution], torch.device("cpu")).draw(per_class * classes_held, stream)
    except UsageError:  # an unconditional one whose expert recognises nothing: there is nothing to show
        return None
    classes = contribution.schema.num_classes
    kind = contribution.schema.kind
    picture: Tensor = kind.zeros(classes * per_class).unflatten(0, (classes, per_class))
    for label in pool.labels.unique().tolist():
        samples = pool.samples.only[pool.labels == label][:per_class]
        picture[label, : len(samples)] = samples
    return picture
