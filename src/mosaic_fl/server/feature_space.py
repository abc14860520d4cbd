"""The space of a public encoder at the server: all clients' class moments there, and the expert that follows.

Moments add up, so this expert is that of the pooled data, whatever the split (FedCGS, Guan et al. 2025). It takes
samples as they are: the encoder stands before a discriminant in closed form.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.encoder import Encoder, deaf
from mosaic_fl.encoders.inversion import inverted
from mosaic_fl.encoders.naming import encoder_of
from mosaic_fl.encoders.variation import varied
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.feature_moments import FAMILY
from mosaic_fl.experts.no_model import has_model
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.moments import ClassMoments, pool, pool_components
from mosaic_fl.generators.moments.generator import DIAGONAL, FULL
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.notes import note
from mosaic_fl.numerics.components import Components
from mosaic_fl.numerics.devices import AT_ONCE
from mosaic_fl.numerics.moments import ABSENT, Moments
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.class_moments import discriminant_of, moments_teacher
from mosaic_fl.server.teachers import MOMENTS, PRODUCT, Teachers

INVERTED = 8000  # pictures at most that are moved to their vectors, which takes about a millisecond a step


@dataclass(frozen=True, eq=False)
class EncoderExpert:
    """An expert on samples of the kind that `encoder` takes: the classifier `head` on their vectors.

    `classes` bool (C,) are those that it knows. Of any other it says next to nothing.
    """

    encoder: Encoder
    head: Classifier
    classes: Tensor

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, C) on the CPU; raises UsageError for a vector that is not finite."""
        return self.of_vectors(self.encoder.vectors(samples.only, device))

    def of_vectors(self, vectors: Tensor) -> Tensor:
        """`log_probabilities` of samples by their vectors (n, d)."""
        with torch.inference_mode():
            logits: Tensor = self.head(vectors)
        known = logits.masked_fill(~self.classes, -torch.inf).log_softmax(1)
        return known.masked_fill(~self.classes, ABSENT)


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """The merged `moments` of the clients `tellers` in the space of `encoder`, whose vectors are of
    `schema`; `silent` clients told none. `components` are those of the classes, where clients told some.
    """

    encoder: Encoder
    schema: Schema
    moments: Moments
    tellers: tuple[int, ...]
    silent: tuple[int, ...]
    components: Components | None = None

    @cached_property
    def expert(self) -> EncoderExpert:
        """The discriminant of the merged moments, behind the encoder."""
        head = discriminant_of(self.schema, self.moments, self.components)
        return EncoderExpert(self.encoder, head, self.moments.counts > 0)

    def decoded(
        self,
        n: int,
        kinds: Mapping[str, Kind],
        stream: Stream,
        inversion: int = 0,
        device: torch.device | str = "cpu",
        tell: Callable[[int], None] = deaf,
    ) -> Samples:
        """n pictures of one field: vectors drawn from the Gaussians of the moments, classes evenly, decoded and varied.

        With `inversion` steps they are first moved to where their vectors are those drawn, where the encoder has
        gradients; `INVERTED` are, and each is there as often as n needs, varied each time. None of them has a label:
        what a decoded picture shows is a teacher's word. `tell` hears how many are inverted. Raises UsageError without
        a decoder.
        """
        decode = self.encoder.decode
        if decode is None:
            raise UsageError(f"encoder {self.encoder.name} decodes nothing")
        rng = stream.torch()
        spec = GeneratorSpec(FAMILY, self.encoder.size, DIAGONAL if self.moments.is_diagonal else FULL)
        gaussians = ClassMoments(spec, self.schema)
        gaussians.draw_from(self.moments, self.components)
        known = (self.moments.counts > 0).nonzero().flatten()
        inverts = bool(inversion) and self.encoder.smooth is not None
        drawn = min(n, INVERTED) if inverts else n
        labels = known[torch.randperm(drawn, generator=rng) % len(known)]
        vectors = torch.cat([gaussians.sample(part, rng) for part in labels.split(AT_ONCE)])
        pictures = torch.cat([decode(part) for part in vectors.split(AT_ONCE)])
        if inverts:
            whitened = gaussians.whitener()

            def distance(reached: Tensor, rows: Tensor) -> Tensor:
                return whitened(reached - vectors[rows].to(reached), labels[rows].to(reached.device)).square().mean(1)

            pictures = inverted(self.encoder, pictures, distance, inversion, device, tell)
        views = pictures[torch.arange(n) % max(drawn, 1)]
        return Samples(kinds, {next(iter(kinds)): varied(views, rng)})

    @property
    def report(self) -> dict[str, Any]:
        """The encoder, who told moments and who did not, for `result.json`."""
        encoder = {name: getattr(self.encoder, name) for name in ("name", "digest", "trained_on")}
        return {"encoder": encoder, "clients": list(self.tellers), "without": list(self.silent)}


def feature_space(contributions: Sequence[Contribution], own: str = "") -> FeatureSpace | None:
    """The space of the clients' encoder; None where no client told moments that have a sample behind them.

    A note says who told some, where others did not. `own` is the encoder that this machine's user names. Raises
    UsageError where it must be named here, or is another one than that of the `contributions`, which agree.
    """
    told = [(c, c.moments) for c in contributions if c.moments is not None]
    if not told:
        if own:
            note(f"moments.encoder = {own}, and no client told class moments: all is as without them")
        return None
    schema = told[0][1].schema(contributions[0].schema)
    kind: Any = schema.kind
    members = [moments.build(c.schema, f"client {c.client}") for c, moments in told]
    moments = pool(members)
    if not moments.total:
        note(f"no site has samples enough of a class for moments of encoder {told[0][1].encoder}: they are not used")
        return None
    tellers = tuple(c.client for c, _ in told)
    silent = tuple(c.client for c in contributions if c.moments is None)
    if silent:
        note(f"{_clients(silent)} told no class moments; those of encoder {kind.encoder} are of {_clients(tellers)}")
    return FeatureSpace(encoder_of(kind, own), schema, moments, tellers, silent, pool_components(members))


def space_teacher(space: FeatureSpace | None, contributions: Sequence[Contribution]) -> str:
    """The teacher where the settings leave it open: the product with the experts, or alone where no client has one.

    Empty without moments.
    """
    if space is None:
        return ""
    return PRODUCT if any(has_model(c.architecture) for c in contributions) else MOMENTS


def with_moments(teachers: Teachers, contributions: Sequence[Contribution], space: FeatureSpace | None) -> Teachers:
    """The teachers with the discriminant of all clients' moments: behind a public encoder, or of vectors."""
    if space is None:
        return replace(teachers, closed=moments_teacher(contributions))
    return replace(teachers, closed=space.expert, closed_classes=space.expert.classes)


def _clients(numbers: Sequence[int]) -> str:
    return f"client{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
