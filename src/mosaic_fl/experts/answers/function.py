"""A black box as a function in this process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.domains.samples import PRESENT, Samples
from mosaic_fl.errors import UsageError, in_one_line
from mosaic_fl.experts.answers.form import AUTO, Answers, answers_of

Array = "np.ndarray[Any, Any]"


@dataclass(frozen=True)
class BlackBox:
    """A `function` from an array of samples to answers, the classes that it knows, and the form of its answers.

    The array holds values at rest, as uint8 (n, channels, height, width) of images, or float32 (n, columns) of a table,
    with codes of categories and NaN for what is missing; where samples have several fields it is a dictionary of arrays
    by field, and `NAME?` bool (n,) says which rows have a field that some lack. The function gives probabilities or
    logits (n, c), or labels (n,), names or numbers. `classes` are the names of its columns; None means all. `form` is
    probabilities, logits, labels or auto, which takes values in 0..1 as probabilities.
    """

    function: Callable[[Any], Any]
    classes: Sequence[str] | None = None
    form: str = AUTO

    def answers(self, samples: Samples, classes: Sequence[str]) -> Answers:
        """The checked answers to n samples; raises UsageError, also where the function itself raises anything."""
        try:
            values = self.function(arrays_of(samples))
        except Exception as error:  # a user's function may raise anything
            raise UsageError(f"the black box failed: {in_one_line(error)}") from error
        return answers_of(values, len(samples), classes, self.classes, self.form)


def arrays_of(samples: Samples) -> "np.ndarray[Any, Any] | Mapping[str, np.ndarray[Any, Any]]":
    """The samples' values at rest: one array for one field without gaps, else a dictionary of them."""
    tensors = {**samples.values, **{f"{name}{PRESENT}": rows for name, rows in samples.present.items()}}
    arrays = {name: tensor.to("cpu").numpy() for name, tensor in tensors.items()}
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


@dataclass(frozen=True)
class FunctionExpert:
    """The expert of a client whose `box` answers in this process."""

    client: int
    box: BlackBox
    classes: tuple[str, ...]

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        """float32 (n, C) on the CPU; raises UsageError that names the client."""
        try:
            return self.box.answers(samples, self.classes).log_probabilities(len(self.classes))
        except UsageError as error:
            raise UsageError(f"client {self.client}: {error}") from error
