"""What is asked of a black box, and what it answers: values, and files that go to a site and come back."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.samples import GAPS, PRESENT, Samples, from_tensors, to_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.exchange.contribution import MAX_CLIENT
from mosaic_fl.experts.answers.form import FORMS, LABELS, Answers, answers_of
from mosaic_fl.storage import container
from mosaic_fl.storage.files import sha256, write_atomic

QUERY = "query"
ANSWER = "answer"
FIELD = "sample/"
MAX_ROUND = 9999
MAX_ROWS = 2**24
SPARE = 2**20  # bytes of an answer's file beside its values: its manifest, with the names of classes


@dataclass(frozen=True, repr=False)
class Query:
    """Samples, at rest, about which the server asks the black box of `client` in this `round`, from 1."""

    client: int
    round: int
    schema: Schema
    samples: Samples

    def __repr__(self) -> str:
        return f"Query({len(self.samples):,} samples for client {self.client}, round {self.round})"

    @cached_property
    def content(self) -> bytes:
        """The file format: see `container`."""
        manifest = {"client": self.client, "round": self.round, "schema": self.schema.to_json()}
        return container.pack(QUERY, manifest, to_tensors(self.samples, FIELD))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 that an answer names."""
        return sha256(self.content)

    @classmethod
    def from_bytes(cls, data: bytes, source: str = QUERY) -> "Query":
        """The inverse of `content`, for bytes from anywhere; raises UsageError that names the `source`."""
        manifest, tensors = container.unpack(data, QUERY, source)
        try:
            client, round = _numbers(manifest)
            schema = Schema.from_json(manifest.get("schema"))
            names = {f"{FIELD}{name}{mark}" for name in schema.fields for mark in ("", PRESENT, GAPS)}
            if not tensors.keys() <= names:
                raise UsageError("its samples have other fields than its schema")
            samples = from_tensors(schema.fields, tensors, FIELD)
            if not 0 < len(samples) <= MAX_ROWS:
                raise UsageError(f"{len(samples):,} samples: a query has 1..{MAX_ROWS:,}")
        except UsageError as error:
            raise UsageError(f"{source}: {error}") from error
        return cls(client, round, schema, samples)

    @classmethod
    def load(cls, path: str | Path) -> "Query":
        """`from_bytes` of a file."""
        return cls.from_bytes(container.read_bytes(Path(path)), str(path))

    @property
    def most_answer_bytes(self) -> int:
        """The largest file that can be an answer to this query."""
        return SPARE + len(self.samples) * max(8, 4 * self.schema.num_classes) + 400 * self.schema.num_classes


@dataclass(frozen=True, repr=False)
class Answer:
    """The `answers` of a client's black box, which knows `classes`, to the query with this `digest`."""

    client: int
    digest: str
    answers: Answers
    classes: tuple[str, ...]

    @classmethod
    def to(cls, query: Query, answers: Answers) -> "Answer":
        """The answer to a query."""
        names = tuple(query.schema.classes[number] for number in answers.columns)
        return cls(query.client, query.digest, answers, names)

    def __repr__(self) -> str:
        return f"Answer({self.answers.form} of {len(self.answers.values):,} samples by client {self.client})"

    def to_bytes(self) -> bytes:
        """The file format: see `container`."""
        names = list(self.classes)
        manifest = {"client": self.client, "query": self.digest, "form": self.answers.form, "classes": names}
        return container.pack(ANSWER, manifest, {"values": self.answers.values})

    def save(self, path: str | Path) -> None:
        """Write the file that goes back to the server."""
        write_atomic(Path(path), self.to_bytes())


def received(data: bytes, source: str) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """(manifest, tensors, digest of the query) of an answer's bytes; raises UsageError that names the `source`."""
    manifest, tensors = container.unpack(data, ANSWER, source)
    digest = manifest.get("query")
    if not isinstance(digest, str):
        raise UsageError(f"{source}: it does not say which query it answers")
    return manifest, tensors, digest


def answer_from(query: Query, data: bytes, source: str) -> Answer:
    """The checked answer to a query, from bytes that may come from anywhere; raises UsageError."""
    if len(data) > (most := query.most_answer_bytes):
        raise UsageError(f"{source}: {len(data):,} bytes; an answer to this query has {most:,} at most")
    manifest, tensors, digest = received(data, source)
    if digest != query.digest:
        raise UsageError(f"{source}: it answers another query")
    return answer_to(query, manifest, tensors, source)


def answer_to(query: Query, manifest: dict[str, Any], tensors: dict[str, Tensor], source: str) -> Answer:
    """The checked answer to a query, from the parts of `received`; raises UsageError that names the `source`."""
    match manifest, tensors:
        case {"client": int(client), "form": str(form), "classes": list(names)}, {"values": values} if (
            form in FORMS and len(tensors) == 1 and all(isinstance(name, str) for name in names)
        ):
            pass
        case _:
            raise UsageError(f"{source}: this is no answer to a query")
    if client != query.client:
        raise UsageError(f"{source}: client {excerpt(client)} answers a query to client {query.client}")
    kind = torch.int64 if form == LABELS else torch.float32
    if values.dtype != kind:
        raise UsageError(f"{source}: {form} of the type {values.dtype}, not {kind}")
    try:
        return Answer.to(query, answers_of(values, len(query.samples), query.schema.classes, names, form))
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def _numbers(manifest: dict[str, Any]) -> tuple[int, int]:
    match manifest:
        case {"client": int(client), "round": int(round)} if (
            type(client) is type(round) is int and 0 <= client <= MAX_CLIENT and 1 <= round <= MAX_ROUND
        ):
            return client, round
    raise UsageError("the manifest is not one of a query")
