"""What a model's outputs say: log-probabilities from logits, probabilities or labels, of all classes or of some."""

import json
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mosaic_fl.domains.schema import MAX_CLASSES, Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.experts.onnx.bounds import CLASSES, OUTPUTS
from mosaic_fl.experts.onnx.facts import Facts

Form = Literal["logits", "probabilities", "labels"]
NEVER = math.log(1e-12)  # the log-probability of a class that the model does not know
LEAST = 1e-6  # no answer of a forest, as 0, is a surer one than this
SURE = 0.9  # the probability of a hard label
CLOSE = 1e-3  # to one, of a sum of probabilities


@dataclass(frozen=True)
class Answers:
    """`columns`: the class of each column of a model's outputs, of `classes` in all; `form`: what the columns are."""

    columns: tuple[int, ...]
    classes: int
    form: Form

    def log_probabilities(self, outputs: Any) -> Tensor:
        """float32 (n, C) from a numpy array of outputs; raises UsageError for outputs of another form."""
        scores = _as_columns(torch.from_numpy(outputs.copy()), len(self.columns), self.form)
        if not bool(scores.isfinite().all()):
            raise UsageError("gives non-finite outputs")
        if self.form == "labels":
            scores = _smooth(scores, len(self.columns))
        elif self.form == "probabilities":
            _require_probabilities(scores)
        if self.form != "logits":
            scores = scores.clamp(min=LEAST).log()
        columns = torch.full((len(scores), self.classes), NEVER)
        columns[:, list(self.columns)] = scores.log_softmax(1)
        return columns


def answers_of(facts: Facts, schema: Schema, outputs: Any) -> Answers:
    """How to read a model with these facts, of which `outputs` are an example; raises UsageError where nobody can.

    Scores are probabilities where each row of the example is one of probabilities, unless the model says what it gives.
    """
    columns = _columns(facts, schema)
    form = facts.properties.get(OUTPUTS) or _seen_form(outputs, len(columns))
    if form not in get_args(Form):
        raise UsageError(f"has the property {OUTPUTS} = {form[:40]!r}: it can be {', '.join(get_args(Form))}")
    if (form == "labels") != (outputs.dtype.kind == "i"):
        raise UsageError(f"gives {outputs.dtype.name}, which are no {form}")
    answers = Answers(columns, schema.num_classes, form)  # type: ignore[arg-type]
    answers.log_probabilities(outputs)
    return answers


def _columns(facts: Facts, schema: Schema) -> tuple[int, ...]:
    """The classes of the model's columns: those that it names, or all."""
    text = facts.properties.get(CLASSES)
    if text is None:
        return tuple(range(schema.num_classes))
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_CLASSES or not all(isinstance(n, str) for n in names):
        raise UsageError(f"has the property {CLASSES} = {excerpt(text, 60)}: it is a JSON list of names of classes")
    if unknown := [name for name in names if name not in schema.classes]:
        raise UsageError(f"answers for the class {excerpt(unknown[0], 60)}, which is none of these data")
    if len(set(names)) < len(names):
        raise UsageError(f"has the property {CLASSES} = {excerpt(text, 60)}, which names a class twice")
    return tuple(schema.classes.index(name) for name in names)


def _seen_form(outputs: Any, columns: int) -> str:
    if outputs.dtype.kind == "i":
        return "labels"
    if not _is_binary(outputs.shape, columns) and outputs.shape[1:] != (columns,):
        return "logits"  # it is refused for its shape
    try:
        _require_probabilities(_as_columns(torch.from_numpy(outputs.copy()), columns, "probabilities"))
    except UsageError:
        return "logits"
    return "probabilities"


def _as_columns(outputs: Tensor, columns: int, form: Form) -> Tensor:
    """Scores float32 (n, columns), or labels int64 (n,), from outputs of any shape that can mean them."""
    n = len(outputs)
    if form == "labels":
        if outputs.numel() != n or not bool(((outputs >= 0) & (outputs < columns)).all()):
            raise UsageError(f"gives labels {tuple(outputs.shape)} that are not one in 0..{columns - 1} a sample")
        return outputs.reshape(n)
    if _is_binary(tuple(outputs.shape), columns):  # the score of the second class alone
        second = outputs.reshape(n, 1).float()
        first = 1 - second if form == "probabilities" else torch.zeros_like(second)
        return torch.cat([first, second], 1)
    if outputs.shape != (n, columns):
        raise UsageError(
            f"gives outputs {tuple(outputs.shape)} for {n} samples of {columns} classes: where it answers for some of "
            f"the classes alone, its property {CLASSES} names them"
        )
    return outputs.float()


def _is_binary(shape: tuple[int, ...], columns: int) -> bool:
    return columns == 2 and shape[1:] in ((), (1,))


def _require_probabilities(scores: Tensor) -> None:
    if not bool((scores >= -LEAST).all()) or not bool(((scores.sum(1) - 1).abs() <= CLOSE).all()):
        raise UsageError("gives rows that are no probabilities: not ≥ 0, or not of sum 1")


def _smooth(labels: Tensor, columns: int) -> Tensor:
    """Probabilities (n, columns) of labels (n,): `SURE` for each, the rest for the others."""
    if columns == 1:
        return torch.ones(len(labels), 1)
    scores = torch.full((len(labels), columns), (1 - SURE) / (columns - 1))
    return scores.scatter(1, labels[:, None].long(), SURE)
