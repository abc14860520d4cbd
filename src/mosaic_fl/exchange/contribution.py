"""A contribution: all that leaves a client, as a value and as a file. Open it for the file format and its checks."""

from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.audited import Audited
from mosaic_fl.exchange.feature_moments import FeatureMoments, from_parts
from mosaic_fl.exchange.privacy import Statement
from mosaic_fl.exchange.probing import probe
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.naming import kind_of
from mosaic_fl.experts.reading import FieldReader, built_on, joins_fields
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.loading import load_into
from mosaic_fl.numerics.states import State, Weights, under
from mosaic_fl.registries import GENERATORS
from mosaic_fl.storage import container

KIND = "contribution"
# Bounds on the numbers and texts in a received manifest.
MAX_CLIENT = 2**31
MAX_COUNT = 2**40
MAX_REASON = 500


@dataclass(frozen=True)
class Prototypes:
    """k-means centres of penultimate features: `features` (p, d), their `labels` (p,), and `sizes` (p,) of clusters."""

    features: Tensor
    labels: Tensor
    sizes: Tensor


def no_prototypes() -> Prototypes:
    """Empty prototypes, for an expert without features."""
    empty = torch.zeros(0, dtype=torch.int64)
    return Prototypes(torch.zeros(0, 0), empty, empty)


@dataclass(frozen=True, repr=False)
class Contribution:
    """All that one client sends to the federation (docs/method.md, steps 1, 2 and 4).

    `expert` is the state of the client's trained model `architecture`: its weights where it is a network.
    `class_counts` (C,) are its training samples by class. Where samples have several fields, `field_counts` (F, C) are
    those of each class that have each field, in the order of the schema; None means that all samples have all fields.
    `generator` is the state of `generator_spec`; both are None where the client sends no generator. `generator_note` is
    the reason for its family, or for its absence. Weights may stay in a file until they are asked (`filed`).
    `moments` are the client's class moments in the space of a public encoder; None where it tells none.
    `validation` holds `samples`, `accuracy` (a fraction) and `loss` (nats) on the client's own validation split. An
    empty split has `samples` alone, and it is empty where they stayed at the site. `contents` says of each field who
    reads it. `privacy` says which differential privacy all of it has; None: none. `audit` is what the site's own found.
    """

    client: int
    schema: Schema
    architecture: str
    expert: Weights
    class_counts: Tensor
    prototypes: Prototypes
    validation: dict[str, float]
    generator_spec: GeneratorSpec | None = None
    generator: Weights | None = None
    generator_note: str = ""
    field_counts: Tensor | None = None
    privacy: Statement | None = None
    moments: FeatureMoments | None = None
    audit: Audited | None = None

    def __repr__(self) -> str:
        samples = f"{int(self.class_counts.sum()):,} samples"
        generator = self.generator_spec.family if self.generator_spec else "no"
        own = self.schema.part(self.fields).summary
        return f"Contribution(client {self.client}, {self.architecture!r}, {own}, {samples}, {generator} generator)"

    @property
    def is_black_box(self) -> bool:
        """Whether the client's model stays at its site and answers queries."""
        return is_black_box(self.architecture)

    @property
    def generator_line(self) -> str:
        """Which generator there is and why, as in "cvae (generator.family says so)"."""
        return f"{self.generator_spec.family if self.generator_spec else 'none'} ({self.generator_note})"

    @property
    def counts_by_field(self) -> Tensor:
        """The client's training samples of each class that have each field, int64 (F, C)."""
        if self.field_counts is None:
            return self.class_counts.expand(len(self.schema.fields), -1)
        return self.field_counts

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that the client has, in the order of the schema."""
        counts = self.counts_by_field.sum(1).tolist()
        return tuple(name for name, count in zip(self.schema.fields, counts, strict=True) if count)

    @property
    def inputs(self) -> Schema:
        """The schema of the samples that the client's expert takes."""
        return built_on(self.architecture, self.schema, self.fields)

    def build_expert(self) -> Expert:
        """The client's expert, for inference; raises UsageError where its state does not fit the architecture."""
        return self.reading(
            kind_of(self.architecture).load(self.architecture, self.inputs, dict(self.expert), self.name)
        )

    def reading(self, expert: Expert) -> Expert:
        """A model that takes samples of `inputs`, for samples of the whole schema."""
        if not self.schema.joins:
            return expert
        return FieldReader(expert, self.fields, tuple(self.inputs.fields), joins_fields(self.architecture))

    def build_network(self) -> Classifier:
        """The client's expert as a network; raises UsageError where it is something else."""
        expert = self.build_expert()
        if not isinstance(expert, Classifier):
            raise UsageError(f"{self.name} is {self.architecture!r}, where a network is needed")
        return expert

    def build_generator(self) -> Generator | None:
        """The client's generator in eval mode, or None; raises UsageError where its weights do not fit."""
        spec = self.generator_spec
        if spec is None or self.generator is None:
            return None
        state = dict(self.generator)
        with torch.random.fork_rng(devices=[]):
            return load_into(lambda: build_generator(spec, self.schema).fit_to(state), state, f"{self.name}, generator")

    def without_generator(self) -> "Contribution":
        """A copy without the generator and the moments, for a method that does not use them."""
        return replace(self, generator_spec=None, generator=None, generator_note="", privacy=None, moments=None)

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"contribution of client {self.client}"

    def to_bytes(self, *, figures: bool = False) -> bytes:
        """The file format: see `container`.

        With `figures` it has those of the validation split, which the report of a run reads; else they stay here.
        """
        manifest = {
            "client": self.client,
            "schema": self.schema.to_json(),
            "architecture": self.architecture,
            "validation": self.validation if figures else {},
            "generator": self.generator_spec.to_json() if self.generator_spec else None,
            "generator_note": self.generator_note,
            **({} if self.privacy is None else {"privacy": self.privacy.to_json()}),
            **({} if self.moments is None else {"moments": self.moments.to_json()}),
            **({} if self.audit is None else {"audit": self.audit.to_json()}),
        }
        tensors = {
            "class_counts": self.class_counts,
            "prototypes/features": self.prototypes.features,
            "prototypes/labels": self.prototypes.labels,
            "prototypes/sizes": self.prototypes.sizes,
            **({} if self.field_counts is None else {"field_counts": self.field_counts}),
            **{f"expert/{name}": tensor for name, tensor in self.expert.items()},
            **{f"generator/{name}": tensor for name, tensor in (self.generator or {}).items()},
            **{f"moments/{name}": tensor for name, tensor in (self.moments.state if self.moments else {}).items()},
        }
        return container.pack(KIND, manifest, tensors)

    @classmethod
    def from_bytes(cls, data: bytes, source: str = "contribution", schema: Schema | None = None) -> "Contribution":
        """The inverse of `to_bytes`, for bytes that may come from anywhere; `source` names them in errors.

        With `schema`, its samples must be of that schema. Raises UsageError as `container.unpack` does, for another
        schema, for an architecture that is not registered here, and for weights that do not fit it.
        """
        manifest, tensors = container.unpack(data, KIND, source)
        try:
            contribution = _from_parts(manifest, tensors)
            if schema is not None and contribution.schema != schema:  # before a network of its size is built
                raise UsageError(f"it has {contribution.schema.difference(schema)} as this federation")
            probe(contribution)
        except MosaicError as error:
            raise UsageError(f"{source}: {error}") from error
        return contribution

    @classmethod
    def from_checked(cls, data: bytes, source: str) -> "Contribution":
        """`from_bytes` of bytes that it has read before: they are not tried again."""
        return _from_parts(*container.unpack(data, KIND, source))

    @classmethod
    def load(cls, path: str | Path, key: container.Key = None) -> "Contribution":
        """`from_bytes` of a file; an encrypted one is read by the private `key` that it is for, a value or its file."""
        return cls.from_bytes(container.read_bytes(Path(path), key), str(path))


def _from_parts(manifest: dict[str, Any], tensors: State) -> Contribution:
    match manifest:
        case {
            "client": int(client),
            "schema": schema_json,
            "architecture": str(architecture),
            "validation": dict(validation),
            "generator": spec_json,
            "generator_note": str(generator_note),
        } if type(client) is int and 0 <= client <= MAX_CLIENT and all(map(_is_figure, validation.values())):
            schema = Schema.from_json(schema_json)
        case _:
            raise UsageError("the manifest is not one of a contribution")
    class_counts = _class_counts(tensors, schema.num_classes)
    spec = None if spec_json is None else GeneratorSpec.from_json(spec_json)
    return Contribution(
        client=client,
        schema=schema,
        architecture=architecture,
        expert=under("expert/", tensors),
        class_counts=class_counts,
        prototypes=_prototypes(tensors, schema.num_classes),
        validation=validation,
        generator_spec=spec,
        generator=None if spec is None else GENERATORS.received(spec.family).upgrade(under("generator/", tensors)),
        generator_note="".join(c for c in generator_note[:MAX_REASON] if c.isprintable()),
        field_counts=_field_counts(tensors, class_counts, schema),
        privacy=Statement.from_json(manifest["privacy"]) if "privacy" in manifest else None,
        moments=from_parts(manifest["moments"], under("moments/", tensors), schema) if "moments" in manifest else None,
        audit=Audited.from_json(manifest["audit"]) if "audit" in manifest else None,
    )


def _is_figure(value: object) -> bool:
    return (type(value) is float and isfinite(value)) or (type(value) is int and abs(value) <= MAX_COUNT)


def _class_counts(tensors: State, classes: int) -> Tensor:
    counts = tensors.get("class_counts")
    if (
        counts is None
        or counts.dtype != torch.int64
        or counts.shape != (classes,)
        or bool(((counts < 0) | (counts > MAX_COUNT)).any())
    ):
        raise UsageError(f"class counts must be {classes} whole numbers in 0..{MAX_COUNT}")
    if int(counts.sum()) == 0:
        raise UsageError("class counts are all 0: the client trained on nothing")
    return counts


def _field_counts(tensors: State, class_counts: Tensor, schema: Schema) -> Tensor | None:
    counts = tensors.get("field_counts")
    if counts is None:
        return None
    shape = (len(schema.fields), schema.num_classes)
    if counts.dtype != torch.int64 or counts.shape != shape or bool(((counts < 0) | (counts > class_counts)).any()):
        raise UsageError(f"field counts must be {shape[0]}×{shape[1]} whole numbers, none above its class's count")
    if bool((counts.sum(0) < class_counts).any()):
        raise UsageError("field counts leave samples without any field")
    return counts


def _prototypes(tensors: State, classes: int) -> Prototypes:
    parts = [tensors.get(f"prototypes/{part}") for part in ("features", "labels", "sizes")]
    match parts:
        case [Tensor() as features, Tensor() as labels, Tensor() as sizes]:
            rows = labels.numel()
            shapes = features.ndim == 2 and len(features) == rows and labels.shape == sizes.shape == (rows,)
            types = features.dtype == torch.float32 and labels.dtype == sizes.dtype == torch.int64
            if shapes and types and bool(((labels >= 0) & (labels < classes) & (sizes > 0)).all()):
                return Prototypes(features, labels, sizes)
    raise UsageError("the prototypes do not fit the schema")
