"""Class moments in the space of a public encoder, told beside a client's own model: as a value and in its file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.config.model_names import NO_MODEL
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.encoder import Encoder
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.experts.no_model import has_model
from mosaic_fl.generators.base import GeneratorSpec, build
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.models.loading import load_into
from mosaic_fl.numerics.states import State
from mosaic_fl.registries import GENERATORS

FAMILY = "moments"
LAYOUT = 3  # axes of samples with a layout, as pictures: rows are encoded before anything else


@dataclass(frozen=True, eq=False)
class FeatureMoments:
    """What a client tells of its samples in the space of the public `encoder`, whose digest is `digest`.

    `spec` and `state` are those of the generator `moments` of such vectors: see `ClassMoments`.
    """

    encoder: str
    digest: str
    spec: GeneratorSpec
    state: State

    def schema(self, of: Schema) -> Schema:
        """The schema of the vectors, for samples of the schema `of`, which has one field."""
        return Schema({Vector.name: Vector(self.spec.latent, self.encoder, self.digest, of.kind)}, of.classes)

    def build(self, of: Schema, source: str) -> ClassMoments:
        """The moments of samples of the schema `of`; raises UsageError where the state does not fit."""
        schema = self.schema(of)
        with torch.random.fork_rng(devices=[]):
            built = load_into(lambda: build(self.spec, schema).fit_to(self.state), self.state, f"{source}, moments")
        assert isinstance(built, ClassMoments)
        return built

    def check(self, of: Schema, class_counts: Tensor, source: str) -> ClassMoments:
        """The moments of samples of the schema `of`, whose classes are `class_counts` (C,).

        Raises UsageError for moments that no data have, or of more samples than `class_counts` say.
        """
        built = self.build(of, source)
        built.check()
        built.check_counts(class_counts, of.classes)
        return built

    def to_json(self) -> dict[str, Any]:
        """As JSON values, without the state."""
        return {"encoder": self.encoder, "digest": self.digest, "generator": self.spec.to_json()}


def from_parts(value: object, state: State, schema: Schema) -> FeatureMoments:
    """The inverse of `to_json`, for values that may come from anywhere, and samples of `schema`.

    Raises UsageError, before anything is allocated, for anything else than moments in the space of an encoder.
    """
    match value:
        case {"encoder": str(encoder), "digest": str(digest), "generator": Mapping() as spec} if encoder and digest:
            told = FeatureMoments(encoder, digest, GeneratorSpec.from_json(spec), state)
            if told.spec.family != FAMILY:
                raise UsageError(f"its moments are a generator {excerpt(told.spec.family)}, where {FAMILY} are read")
            if schema.joins:
                raise UsageError(f"its moments are of one field, and samples have {', '.join(schema.fields)}")
            told.schema(schema)
            return told
    raise UsageError("its moments do not say their encoder, its digest and their form")


def of_moments(built: ClassMoments, schema: Schema) -> FeatureMoments:
    """The value that tells `built`, moments of vectors of `schema`."""
    kind = schema.kind
    assert isinstance(kind, Vector)
    state = {name: tensor.detach().cpu().clone() for name, tensor in built.state_dict().items()}
    return FeatureMoments(kind.encoder, kind.digest, built.spec, state)


def moments_encoder(config: Config, schema: Schema) -> Encoder | None:
    """The encoder that `moments.encoder` names, for samples of `schema`; None without one.

    Raises UsageError, before any work, where it takes no such samples, or its moments would be too many numbers.
    """
    name = config.moments.encoder
    if not name:
        return None
    if schema.joins:
        raise UsageError(f"--moments {name} is for pictures of one field, and samples have {', '.join(schema.fields)}")
    if len(schema.shape) != LAYOUT:
        raise UsageError(f"--moments {name} is for pictures, and these are {schema.summary}: say --encoder instead")
    encoder = make_encoder(name, schema.kind)
    GENERATORS[FAMILY].check(config.generator, 0, vector_schema(encoder, schema), None)
    return encoder


def vector_schema(encoder: Encoder, schema: Schema) -> Schema:
    """The schema of the encoder's vectors of samples of `schema`."""
    return Schema({Vector.name: encoder.kind}, schema.classes)


def require_something(config: Config, models: Iterable[str]) -> None:
    """Raise UsageError for a site that would send nothing to learn from: no model, no generator and no moments."""
    if config.generator.family == "none" and not config.moments.encoder and not all(map(has_model, models)):
        raise UsageError(
            f"model {NO_MODEL} and generator none: such a site tells nothing; say --moments NAME, or name one of both"
        )


def decodes(config: Config, schema: Schema) -> bool:
    """Whether `moments.encoder` names an encoder that can decode, so that samples are drawn of moments alone."""
    encoder = moments_encoder(config, schema)
    return encoder is not None and encoder.decode is not None
