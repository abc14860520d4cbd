"""How a model takes samples: as they are at rest or as networks take them, flat or as images."""

from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from mosaic_fl.domains.samples import PRESENT, Inputs, Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.onnx.bounds import INPUTS
from mosaic_fl.experts.onnx.facts import Dimensions, Facts

Form = Literal["flat", "as they are", "channels last"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """`rest`: values as they are stored, not encoded as for networks. `form`: a row a sample, or an image's order."""

    rest: bool
    form: Form

    def batch(self, samples: Samples) -> Any:
        """The samples as the model takes them: a numpy array, float32 (n, …)."""
        values = _at_rest(samples) if self.rest else samples.inputs()
        tensor = flat(values) if self.form == "flat" or not isinstance(values, Tensor) else values
        return (tensor.movedim(1, -1) if self.form == "channels last" else tensor).to(torch.float32).numpy()


def flat(inputs: Inputs) -> Tensor:
    """A row a sample: the values of a field after each other, the fields in the order of their names."""
    if isinstance(inputs, Tensor):
        return inputs.flatten(1)
    return torch.cat([inputs[name].flatten(1) for name in sorted(inputs) if not name.endswith(PRESENT)], 1)


def layout_of(facts: Facts, schema: Schema) -> Layout:
    """How a model with these facts takes samples of the schema; raises UsageError where it takes others.

    Encoded values go first; values at rest are taken where the model says so, or where its input has their width alone.
    """
    return layouts_of(facts, schema)[0]


def layouts_of(facts: Facts, schema: Schema) -> list[Layout]:
    """All ways in which a model with these facts can take samples of the schema: one, or encoded and at rest."""
    shape = facts.input.shape
    assert shape is not None
    wish = facts.properties.get(INPUTS)
    if wish not in (None, "rest", "network"):
        raise UsageError(f"has the property {INPUTS} = {wish[:40]!r}: it can be rest or network")
    choices = [rest for rest in (False, True) if wish is None or rest == (wish == "rest")]
    forms = {rest: _form(shape[1:], shapes_of(schema, rest=rest)) for rest in choices}
    if layouts := [Layout(rest, form) for rest, form in forms.items() if form]:
        return layouts
    widths = " or ".join(dict.fromkeys(_words(schema, rest=rest) for rest in choices))
    takes = ", ".join("n" if side is None else str(side) for side in shape)
    raise UsageError(f"takes inputs of the shape ({takes}), and these samples are {widths}")


def _form(sides: Dimensions, shapes: list[Shape]) -> Form | None:
    """The form in which samples of these fields fit an input of these sizes; None where they do not."""
    if len(sides) == 1 and sides[0] in (None, sum(map(prod, shapes))):
        return "flat"
    if len(shapes) > 1 or len(sides) != len(shapes[0]):
        return None
    shape = shapes[0]
    if _fits(sides, shape):
        return "as they are"
    if len(shape) > 1 and _fits(sides, (*shape[1:], shape[0])):
        return "channels last"
    return None


def _fits(sides: Dimensions, shape: Shape) -> bool:
    return all(side in (None, size) for side, size in zip(sides, shape, strict=True))


def shapes_of(schema: Schema, *, rest: bool) -> list[Shape]:
    """The shape of each field's values."""
    if rest:
        return [tuple(kind.zeros(1).shape[1:]) for kind in schema.fields.values()]
    return [tuple(kind.shape) for kind in schema.fields.values()]


def _words(schema: Schema, *, rest: bool) -> str:
    shapes = shapes_of(schema, rest=rest)
    width = f"(n, {sum(map(prod, shapes))})"
    images = f"(n, {', '.join(map(str, shapes[0]))})"
    both = f"{width} or {images}" if len(shapes) == 1 and len(shapes[0]) > 1 else width
    return f"{both} {'at rest' if rest else 'encoded for networks'}"


def _at_rest(samples: Samples) -> Inputs:
    values = dict(samples.values)
    return next(iter(values.values())) if len(values) == 1 else values
