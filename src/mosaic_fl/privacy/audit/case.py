"""What an attack is given: a contribution, samples of known standing, and what several attacks compute of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mosaic_fl.config import GeneratorConfig, TrainConfig
from mosaic_fl.domains.dataset import Dataset, pool
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.encoders.naming import encoder_of, is_made
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.trial import generator_work
from mosaic_fl.experts.kind import Expert
from mosaic_fl.generators.base import Generator
from mosaic_fl.generators.mixtures import Mixtures
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.drawing import plan
from mosaic_fl.privacy.audit.figures import LEAST
from mosaic_fl.privacy.audit.search import PASSES, STEPS, search

MOST_DRAWS = 10_000  # synthetic samples
DRAWING = 0.1  # of the seconds
SEARCHING = 0.4
MOST_SEARCHED = 500  # members, and as many strangers
AT_ONCE = 2**24  # distances that exist at once
DEFAULT = TrainConfig()

Pair = tuple[Tensor, Tensor]
"""Scores of members (m,) and of strangers (n,); higher: more like a member."""


@dataclass(frozen=True)
class Shadows:
    """How many `pairs` of shadow generators an attacker trains, and the `settings` that the contribution's own had."""

    pairs: int
    settings: GeneratorConfig


@dataclass(frozen=True, eq=False)
class Draws:
    """Synthetic samples: `rows` float32 (n, d), their `labels` (n,), and the `latents` (n, latent) they come from."""

    rows: Tensor
    labels: Tensor
    latents: Tensor


@dataclass(frozen=True, eq=False)
class Nearest:
    """Of each sample the distances to the nearest row and to the next one, and the nearest one's `place`: (n,) each."""

    first: Tensor
    second: Tensor
    place: Tensor


@dataclass(frozen=True, eq=False)
class Told:
    """`moments` of vectors, and members and strangers as such vectors."""

    moments: ClassMoments | Mixtures
    members: Dataset
    strangers: Dataset


@dataclass(frozen=True, eq=False)
class Search:
    """Of some samples, by their `places` (n,) among everyone, the least squared `errors` (n,) of the generator."""

    places: Tensor
    errors: Tensor


@dataclass(frozen=True, eq=False)
class Case:
    """A contribution, `members` that it was trained on, and `strangers` of the same distribution that it was not.

    `seconds` is roughly what one core may take for all attacks together. They turn it into numbers of draws and steps
    by the estimated work of the networks, never by the clock, so findings do not depend on the machine. `train` are the
    settings by which the expert was trained, as far as the attacker knows them, and `shadows` those of the generator;
    None: no shadow generators are trained.
    """

    contribution: Contribution
    members: Dataset
    strangers: Dataset
    stream: Stream
    seconds: float
    train: TrainConfig = DEFAULT
    shadows: Shadows | None = None

    @cached_property
    def everyone(self) -> Dataset:
        """Members, then strangers."""
        return pool([self.members, self.strangers])

    @cached_property
    def expert(self) -> Expert:
        """The client's model."""
        return self.contribution.build_expert()

    @cached_property
    def generator(self) -> Generator | None:
        """The client's generator, which is not trained any more; None where it sends none."""
        generator = self.contribution.build_generator()
        return None if generator is None else generator.requires_grad_(False)

    @property
    def conditional(self) -> bool:
        """Whether the generator draws samples of given classes."""
        return self.generator is not None and self.generator.conditional

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that the generator draws."""
        spec = self.contribution.generator_spec
        return spec.fields if spec is not None and spec.fields else self.contribution.fields

    @cached_property
    def rows(self) -> Tensor:
        """Everyone as the rows that distances are measured between: float32 (m + n, d)."""
        return flat(self.everyone.samples, self.fields)

    @cached_property
    def told(self) -> "Told | None":
        """The moments that the contribution tells, with members and strangers as the vectors that they are of."""
        moments = self.contribution.moments
        if moments is None:
            generator = self.generator
            if not isinstance(generator, ClassMoments | Mixtures):
                return None
            return Told(generator, self.members, self.strangers)
        schema = self.contribution.schema
        kind = moments.schema(schema).kind
        assert isinstance(kind, Vector)
        encoder = encoder_of(kind, moments.encoder if is_made(moments.digest) else "")
        members, strangers = (encode(data, encoder) for data in (self.members, self.strangers))
        return Told(moments.build(schema, "the contribution"), members, strangers)

    @cached_property
    def drawn(self) -> "Draws":
        """Synthetic samples, classes as often as the client has them."""
        generator = self.generator
        assert generator is not None
        stream = Stream(self.stream.seed, f"{self.stream.stage}/draw", self.stream.client)
        draws = plan(self.contribution, DRAWING * self.seconds, MOST_DRAWS, stream)
        rows = torch.cat([flat(part, self.fields) for part in draws.parts(generator, self.contribution.schema)])
        if not bool(rows.isfinite().all()):
            family = self.contribution.generator_spec
            assert family is not None
            raise UsageError(f"its generator ({family.family}) gives non-finite samples: it cannot be audited, or used")
        return Draws(rows, draws.labels, draws.latents)

    @cached_property
    def nearest(self) -> "Nearest":
        """The nearest synthetic samples of everyone."""
        return self._nearest(self.drawn.rows, self.drawn.labels if self.conditional else None, own=False)

    @cached_property
    def nearest_real(self) -> Tensor:
        """Distances of everyone to the nearest other real sample of the class, a member or a stranger: (m + n,)."""
        return self._nearest(self.rows, self.everyone.labels if self.conditional else None, own=True).first

    def _nearest(self, rows: Tensor, labels: Tensor | None, *, own: bool) -> "Nearest":
        """The nearest `rows` of the class. With `own` these are everyone's rows, and each leaves itself out.

        Where a class has fewer than two rows to compare with, all are compared with.
        """
        least = torch.full((len(self.rows), 2), torch.inf)
        places = torch.zeros(len(self.rows), 2, dtype=torch.int64)
        everyone = self.everyone.labels
        for label in [0] if labels is None else everyone.unique().tolist():
            mine = _places(None if labels is None else everyone.eq(label), len(everyone))
            theirs = _places(None if labels is None else labels.eq(label), len(rows))
            if len(theirs) < 2 + own:
                theirs = torch.arange(len(rows))
            for few in mine.split(max(1, AT_ONCE // len(theirs))):
                distances = torch.cdist(self.rows[few], rows[theirs])
                if own:
                    distances[few[:, None] == theirs] = torch.inf
                least[few], near = distances.topk(2, largest=False)
                places[few] = theirs[near]
        return Nearest(least[:, 0], least[:, 1], places[:, 0])

    @cached_property
    def search(self) -> "Search | str":
        """What the opened generator can be made to draw of some members and strangers; or why it cannot be opened."""
        generator = self.generator
        spec = self.contribution.generator_spec
        assert generator is not None
        assert spec is not None
        if not generator.opens:
            return f"generator {spec.family} cannot be searched by gradients"
        each = STEPS * PASSES * generator_work(spec, self.contribution.schema).seconds
        count = min(MOST_SEARCHED, int(SEARCHING * self.seconds / (2 * each)))
        if count < LEAST:
            return f"a search in generator {spec.family} takes longer than {self.seconds:g} s"
        rng = Stream(self.stream.seed, f"{self.stream.stage}/search", self.stream.client).torch()
        members = torch.randperm(len(self.members), generator=rng)[:count]
        strangers = torch.randperm(len(self.strangers), generator=rng)[:count] + len(self.members)
        places = torch.cat([members, strangers])
        start = self.drawn.latents[self.nearest.place[places]]
        errors = search(generator, start, self.everyone.labels[places], self.rows[places])
        return Search(places, errors)

    def parted(self, scores: Tensor) -> Pair:
        """Everyone's scores (m + n,) as those of members and of strangers."""
        return scores[: len(self.members)], scores[len(self.members) :]


@dataclass(frozen=True)
class Attack:
    """An attack by its name, `on` a part of a contribution.

    `scores` gives those of a case, or the reason in words why it does not apply.
    """

    name: str
    on: str
    scores: Callable[[Case], Pair | str]


def _places(rows: Tensor | None, count: int) -> Tensor:
    """The numbers of the `rows` that are True, bool (count,); of all without them."""
    return torch.arange(count) if rows is None else rows.nonzero()[:, 0]


def flat(samples: Samples, fields: tuple[str, ...]) -> Tensor:
    """Samples as float32 (n, d), each field scaled by the root of its size, so that fields weigh alike."""
    inputs = samples.part(fields).inputs()
    if isinstance(inputs, Tensor):
        return inputs.flatten(1) / math.sqrt(inputs[0].numel())
    return torch.cat([values.flatten(1) / math.sqrt(values[0].numel()) for values in inputs.values()], 1)
