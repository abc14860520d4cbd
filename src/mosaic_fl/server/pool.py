"""Labelled synthetic samples from the clients' generators (METHOD: lesson 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.contribution import Contribution
from mosaic_fl.data.dataset import to_uint8
from mosaic_fl.devices import AT_ONCE
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import logits
from mosaic_fl.randomness import Stream
from mosaic_fl.server.experts import class_weights

DRAWS = 20  # rounds of rejection sampling for an unconditional generator
MOST_AT_ONCE = 4096


@dataclass(frozen=True)
class Pool:
    """n synthetic samples: `images` uint8 (n, channels, height, width), `labels` int64 (n,), `sources` (n,) clients."""

    images: Tensor
    labels: Tensor
    sources: Tensor


class Sampler:
    """The clients' generators, built once, to draw from again and again."""

    def __init__(self, contributions: Sequence[Contribution], device: torch.device) -> None:
        """Raises UsageError where no contribution has a generator."""
        self.counts = torch.stack([c.class_counts * (c.generator is not None) for c in contributions])
        if not int(self.counts.sum()):
            reasons = "; ".join(f"client {c.client}: {c.generator_note}" for c in contributions)
            raise UsageError(f"no contribution has a generator, so there is nothing to distil on ({reasons})")
        self.shape = contributions[0].schema.shape
        self.clients = torch.tensor([c.client for c in contributions])
        self.generators = [c.build_generator() for c in contributions]
        self.judges: dict[int, Classifier] = {}
        for k, generator in enumerate(self.generators):
            if generator is not None and not generator.to(device).conditional:
                self.judges[k] = contributions[k].build_expert().to(device)

    def draw(self, n: int, stream: Stream) -> Pool:
        """n samples: classes drawn evenly, and within a class from each client's generator in proportion to w[k, c].

        Only classes that some client with a generator holds can be drawn. What an unconditional generator shows is
        what its own client's expert says it is; where that expert never says a class, the class is left out, so there
        may be fewer than n. Raises UsageError where nothing is left.
        """
        rng, classes = stream.torch(), self.counts.sum(0).nonzero().flatten()
        labels = classes[torch.randperm(n, generator=rng) % len(classes)]
        sources = torch.multinomial(class_weights(self.counts).T[labels], 1, generator=rng).flatten()
        images, found = torch.zeros(n, *self.shape, dtype=torch.uint8), torch.zeros(n, dtype=torch.bool)
        for k, generator in enumerate(self.generators):
            mine = (sources == k).nonzero().flatten()
            if generator is None or not len(mine):
                continue
            if k in self.judges:
                _by_rejection(generator, self.judges[k], labels, mine, images, found, rng)
            else:
                images[mine], found[mine] = _quantised(generator, labels[mine], rng), True
        if not bool(found.any()):
            raise UsageError("no generator shows what its client's expert knows: train the generators for longer")
        return Pool(images[found], labels[found], self.clients[sources[found]])

    def draw_as_they_come(self, n: int, stream: Stream) -> Pool:
        """n samples, from each generator as many, or one more, classes as they fall (the paper's batches).

        Which ones give one more is drawn, so that none is left out of all batches that are smaller than their number.
        A conditional generator is asked for its client's own class distribution; an unconditional one shows what its
        client's expert says.
        """
        rng, owners = stream.torch(), [k for k, generator in enumerate(self.generators) if generator is not None]
        shares, more = torch.full((len(owners),), n // len(owners)), n % len(owners)
        if more:
            shares[torch.randperm(len(owners), generator=rng)[:more]] += 1
        parts = list[Pool]()
        for k, share in zip(owners, shares.tolist(), strict=True):
            generator = self.generators[k]
            assert generator is not None
            if not share:
                continue
            labels = torch.multinomial(self.counts[k].float(), share, replacement=True, generator=rng)
            images = _quantised(generator, labels, rng)
            if k in self.judges:
                labels = logits(self.judges[k], images, next(generator.parameters()).device).argmax(1)
            parts.append(Pool(images, labels, self.clients[[k] * share]))
        return Pool(*(torch.cat([getattr(p, name) for p in parts]) for name in ("images", "labels", "sources")))


def _quantised(generator: Generator, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Samples at rest: uint8, like real images, and a quarter of the memory; raises UsageError where they are none."""
    parts = list[Tensor]()
    for part in labels.split(AT_ONCE):
        images = generator.sample(part, rng)
        if not bool(images.isfinite().all()):
            raise UsageError(
                f"a generator ({generator.spec.family}) gives non-finite images: leave its contribution out"
            )
        parts.append(to_uint8(images).cpu())
    return torch.cat(parts)


def _by_rejection(
    generator: Generator,
    expert: Classifier,
    labels: Tensor,
    wanted: Tensor,
    images: Tensor,
    found: Tensor,
    rng: torch.Generator,
) -> None:
    """Fill `images` at `wanted` with samples that `expert` gives the label asked for; marks them in `found`."""
    for _ in range(DRAWS):
        open_places = wanted[~found[wanted]]
        if not len(open_places):
            return
        batch = min(MOST_AT_ONCE, max(256, 2 * len(open_places)))
        drawn = _quantised(generator, torch.zeros(batch, dtype=torch.int64), rng)
        shown = logits(expert, drawn, next(generator.parameters()).device).argmax(1)
        for label in shown.unique().tolist():
            places, candidates = (
                open_places[labels[open_places] == label],
                (shown == label).nonzero().flatten(),
            )
            fits = min(len(places), len(candidates))
            images[places[:fits]] = drawn[candidates[:fits]]
            found[places[:fits]] = True


def sheet(contribution: Contribution, per_class: int, stream: Stream) -> Tensor | None:
    """uint8 (C, per_class, channels, height, width): what the generator shows of each class, for a person to look at.

    Classes that it does not hold are 0. None where there is no generator.
    """
    if contribution.generator is None:
        return None
    held = int((contribution.class_counts > 0).sum())
    try:
        pool = Sampler([contribution], torch.device("cpu")).draw(per_class * held, stream)
    except UsageError:  # an unconditional one whose expert recognises nothing: there is nothing to show
        return None
    shape = (contribution.schema.num_classes, per_class, *contribution.schema.shape)
    images = torch.zeros(shape, dtype=torch.uint8)
    for label in pool.labels.unique().tolist():
        drawn = pool.images[pool.labels == label][:per_class]
        images[label, : len(drawn)] = drawn
    return images
