"""What a black box may answer, and its log-probabilities: the one check of answers, at the site and at the server."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.errors import UsageError, excerpt

PROBABILITIES = "probabilities"
LOGITS = "logits"
LABELS = "labels"
AUTO = "auto"
FORMS = (PROBABILITIES, LOGITS, LABELS)
LEAST = 1e-12  # the probability of a class that a black box does not know, or calls impossible
CERTAINTY = 0.95  # the probability of a hard label: how sure it is nobody says
TOLERANCE = 1e-3  # of a row's sum: float16 and a CSV of four decimals round so
MOST_LOGIT = 1e6


class NoAnswersError(UsageError):
    """What a black box said are no answers: the text has numbers alone, so a site may pass it on."""


@dataclass(frozen=True)
class Answers:
    """The answers to n samples: `values` of the `form`, for the classes numbered `columns` (c,).

    Probabilities and logits are float32 (n, c), a column for each of `columns`. Labels are int64 (n,), each a place in
    `columns`.
    """

    form: str
    values: Tensor
    columns: tuple[int, ...] = field(default=())

    def log_probabilities(self, classes: int) -> Tensor:
        """float32 (n, C), up to a constant a sample where all classes are known."""
        if self.form == LABELS:
            others = (1 - CERTAINTY) / max(len(self.columns) - 1, 1)
            known = torch.full((len(self.values), len(self.columns)), others).log()
            known[torch.arange(len(known)), self.values] = float(np.log(CERTAINTY))
        elif self.form == PROBABILITIES:
            known = self.values.clamp(min=LEAST).log()
        else:
            known = self.values
        if self.columns == tuple(range(classes)):
            return known
        result = torch.full((len(known), classes), float(np.log(LEAST)))
        result[:, list(self.columns)] = known.log_softmax(1) if self.form == LOGITS else known
        return result


def columns_of(names: Sequence[str] | None, classes: Sequence[str]) -> tuple[int, ...]:
    """The numbers of the classes that a black box knows; None means all. Raises UsageError for other names."""
    if names is None:
        return tuple(range(len(classes)))
    places = {name: number for number, name in enumerate(classes)}
    known = [str(name) for name in names]
    for name in known:
        if name not in places:
            raise UsageError(f"the black box has a class {excerpt(name)}, which is none of the federation's classes")
    if not known or len(set(known)) < len(known):
        raise UsageError("the classes of a black box are one or more names, each of them once")
    return tuple(places[name] for name in known)


def answers_of(
    values: Any, rows: int, classes: Sequence[str], names: Sequence[str] | None = None, form: str = AUTO
) -> Answers:
    """The checked answers to `rows` samples, from what a function returned: an array, a tensor or lists.

    Hard labels are (n,): class names, or whole numbers, each a place in `names`, which are the classes that the black
    box knows; None means all `classes`. Others are (n, c), of a column for each of these. With the form `auto`, rows
    whose values lie in 0..1, or sum to one, are probabilities, and others logits. Raises UsageError for too few or too
    many rows, for NaN, for what is not of its form.
    """
    if form not in (AUTO, *FORMS):
        raise UsageError(f"form {excerpt(form)}: answers are {', '.join(FORMS)}")
    columns = columns_of(names, classes)
    array = _array(values)
    if array.ndim == 2 and array.shape[1] == 1 and form in (AUTO, LABELS) and len(columns) > 1:
        array = array[:, 0]
    if array.ndim not in (1, 2):
        raise NoAnswersError(
            f"answers of the shape {array.shape}: they are (n,) labels, or (n, {len(columns)}) numbers"
        )
    if len(array) != rows:
        raise NoAnswersError(f"{len(array):,} answers to {rows:,} samples: each sample needs one, in the query's order")
    if array.ndim == 1 or form == LABELS:
        return Answers(LABELS, _labels(array, form, [classes[c] for c in columns]), columns)
    if array.shape[1] != len(columns):
        raise NoAnswersError(f"answers have {array.shape[1]} columns, and the black box knows {len(columns)} classes")
    numbers = _floats(array)
    if form == AUTO:
        form = _form(numbers)
    _require(numbers, form)
    return Answers(form, numbers, columns)


def _array(values: Any) -> "np.ndarray[Any, Any]":
    if isinstance(values, Tensor):
        values = values.detach().to("cpu")
        values = (values.float() if values.is_floating_point() else values).numpy()
    try:
        return np.asarray(values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"answers are no array of numbers or names: {error}") from error


def _labels(array: "np.ndarray[Any, Any]", form: str, known: list[str]) -> Tensor:
    if array.ndim != 1 or form not in (AUTO, LABELS):
        raise NoAnswersError(f"answers of the shape {array.shape} are not {form if array.ndim == 1 else LABELS}")
    if array.dtype.kind in "OUS":
        places = {name: number for number, name in enumerate(known)}
        texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in array]
        other = next((row for row, text in enumerate(texts) if text not in places), None)
        if other is not None:
            raise UsageError(f"answer {other} is {excerpt(texts[other])}, which is no class of the black box")
        return torch.tensor([places[text] for text in texts], dtype=torch.int64)
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.round(array)).all():
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise NoAnswersError("labels are whole numbers or names of classes: NaN and fractions are none")
    if len(array) and (int(array.min()) < 0 or int(array.max()) >= len(known)):
        worst = array.min() if array.min() < 0 else array.max()
        raise NoAnswersError(f"a label is {worst}: the black box knows the classes 0..{len(known) - 1}")
    return torch.from_numpy(array.astype(np.int64))


def _floats(array: "np.ndarray[Any, Any]") -> Tensor:
    try:
        numbers = array.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise UsageError(f"answers are no numbers: {error}") from error
    wrong = ~np.isfinite(numbers).all(1)
    if wrong.any():
        raise NoAnswersError(
            f"answer {int(wrong.argmax())} has a NaN or infinite value, in {int(wrong.sum())} rows in all"
        )
    return torch.from_numpy(numbers.clip(-1e38, 1e38).astype(np.float32))


def _form(numbers: Tensor) -> str:
    """Probabilities where values lie in 0..1 or rows sum to one: what is nearly so is a mistake, not a logit."""
    inside = bool(((numbers >= 0) & (numbers <= 1)).all())
    sums = bool(((numbers.double().sum(1) - 1).abs() <= TOLERANCE).all())
    return PROBABILITIES if inside or sums else LOGITS


def _require(numbers: Tensor, form: str) -> None:
    if form == LOGITS:
        if len(numbers) and float(numbers.abs().max()) > MOST_LOGIT:
            raise NoAnswersError(f"a logit is beyond ±{MOST_LOGIT:,.0f}")
        return
    negative = (numbers < 0).any(1)
    if bool(negative.any()):
        raise NoAnswersError(f"answer {int(negative.int().argmax())} has a negative probability")
    off = (numbers.double().sum(1) - 1).abs()
    if len(numbers) and float(off.max()) > TOLERANCE:
        row = int(off.argmax())
        raise NoAnswersError(
            f"answer {row} sums to {float(numbers[row].sum()):.4g}, where probabilities sum to 1: say logits if it has "
            "some (form)"
        )
