"""Which fields of a sample an expert reads, where samples have several, and of which samples it can be asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.config.model_names import JOINING
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.answers.book import AnswerBook
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.naming import check, kind_of
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.experts.no_model import NoModel
from mosaic_fl.models.own import is_own

SEND = "let the site send a model, as fusion:64"


def joins_fields(name: str) -> bool:
    """Whether the expert of this name takes samples of all fields, of which any may be absent.

    So do networks of the family `fusion`, and a user's own, whose inputs are then a dictionary (`Samples.inputs`).
    """
    return name.split(":")[0] == JOINING or is_own(name)


def built_on(name: str, schema: Schema, fields: Sequence[str]) -> Schema:
    """The schema of the samples that an expert of this name takes at a site that has these `fields`.

    It is the whole schema for an expert that joins fields, and else that of the site's own fields.
    """
    return schema if joins_fields(name) else schema.part(fields)


def rows_for(name: str, data: Dataset, inputs: Schema) -> Dataset:
    """The samples of a site from which an expert of this name, which takes samples of `inputs`, learns.

    An expert that joins fields learns from all, and every other from those that have all its fields.
    """
    if not data.schema.joins or joins_fields(name):
        return data
    part = data.part(tuple(inputs.fields))
    return part.subset(torch.stack([part.samples.having(field) for field in inputs.fields]).all(0))


def require_reader(name: str, fields: Sequence[str]) -> None:
    """Raise UsageError where an expert of this name cannot read these fields of samples that have several."""
    if is_black_box(name):
        raise UsageError(f"a black box is asked of samples of one field, and a sample here may have several: {SEND}")
    if not joins_fields(name) and kind_of(name) is NETWORK and len(fields) > 1:
        raise UsageError(
            f"model {name!r} reads one field, and this site has {', '.join(fields)}: name {JOINING}, as {JOINING}:64"
        )


def check_fields(name: str, schema: Schema, fields: Sequence[str]) -> None:
    """Raise UsageError unless there can be an expert of this name at a site that has these `fields`."""
    if schema.joins:
        require_reader(name, fields)
    check(name, built_on(name, schema, fields))


def check_any_field(name: str, schema: Schema) -> None:
    """Raise UsageError unless there can be an expert of this name at some site, whichever fields it has."""
    if not schema.joins or joins_fields(name):
        check(name, schema)
        return
    for place, field in enumerate(schema.fields, 1):
        try:
            check(name, schema.part([field]))
        except UsageError:
            if place == len(schema.fields):
                raise
        else:
            return


@dataclass(frozen=True)
class FieldReader:
    """An `expert` of a client that has `fields` alone, for samples with all fields of a schema.

    `inputs` are the fields that the expert takes. With `any_subset` one field is enough for it.
    """

    expert: Expert
    fields: tuple[str, ...]
    inputs: tuple[str, ...]
    any_subset: bool

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """Those of the expert, which sees nothing of other fields than its client's: float32 (n, C) on the CPU."""
        return self.expert.log_probabilities(samples.with_fields(self.fields).part(self.inputs), device)

    def can_read(self, samples: Samples) -> Tensor:
        """Which samples have the fields that the expert needs: bool (n,)."""
        rows = torch.stack([samples.having(name) for name in self.fields])
        return rows.any(0) if self.any_subset else rows.all(0)


def answers_of(expert: Expert, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
    """The log-probabilities float32 (n, C) of an expert on the CPU: NaN for samples that it cannot read."""
    if not isinstance(expert, FieldReader):
        return expert.log_probabilities(samples, device)
    rows = expert.can_read(samples)
    if bool(rows.all()):
        return expert.log_probabilities(samples, device)
    few = samples[rows] if bool(rows.any()) else samples[:1]
    answers = expert.log_probabilities(few, device)
    result = torch.full((len(samples), answers.shape[1]), torch.nan)
    result[rows] = answers[: int(rows.sum())]
    return result


def is_asked(expert: Expert) -> bool:
    """Whether an expert can be asked what it has never seen: no black box, and no site without a model."""
    return not isinstance(expert.expert if isinstance(expert, FieldReader) else expert, (AnswerBook, NoModel))
