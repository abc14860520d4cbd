"""Samples at rest: one tensor for each field. Training indexes these tensors; no loader copies them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.schema import by_name
from mosaic_fl.errors import UsageError, unknown

Inputs = Tensor | dict[str, Tensor]
"""The inputs of a network: float32 (n, …), or a dictionary of such tensors by field, where samples have several.

The dictionary holds, too, under the field's name and `PRESENT`, float32 (n, 1): 1 where a sample has the field, else 0.
"""
Index = Tensor | slice
# Suffixes of tensors beside a field's values in a file: which rows have the field, and which values are missing.
PRESENT = "?"
GAPS = "~"


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """n samples at rest: for each field its kind, its `values` (n, …), and the rows that have it.

    `present` holds bool (n,) for a field that some rows lack; a field that is not in it is in every row. The values of
    a row that lacks the field have no meaning. Raises UsageError where values are not of their kind, or lengths differ.
    """

    kinds: Mapping[str, Kind]
    values: Mapping[str, Tensor]
    present: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", by_name(self.kinds))
        if self.values.keys() != self.kinds.keys():
            raise UsageError(f"samples have the fields {', '.join(self.values)}, not {', '.join(self.kinds)}")
        for name, kind in self.kinds.items():
            kind.check(self.values[name])
        lengths = {len(tensor) for tensor in (*self.values.values(), *self.present.values())}
        if wrong := [name for name in self.present if name not in self.kinds]:
            raise unknown("field", wrong[0], tuple(self.kinds))
        if len(lengths) > 1:
            raise UsageError(f"the fields of samples have different lengths: {sorted(lengths)}")

    def __repr__(self) -> str:
        return f"Samples({len(self)} of {', '.join(self.kinds)})"

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def __getitem__(self, index: Index) -> "Samples":
        """The samples at `index`, a tensor of numbers or truth values, or a slice."""
        return self._each(lambda tensor: tensor[index])

    @property
    def only(self) -> Tensor:
        """The values of the one field; raises UsageError where there are several."""
        if len(self.values) > 1:
            raise UsageError(f"samples have the fields {', '.join(self.values)}, where one alone can be used")
        return next(iter(self.values.values()))

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that at least one sample has, in the schema's order."""
        return tuple(name for name in self.kinds if name not in self.present or bool(self.present[name].any()))

    def having(self, name: str) -> Tensor:
        """Which samples have the field `name`: bool (n,). Raises UsageError for a name that is no field."""
        if name not in self.kinds:
            raise unknown("field", name, tuple(self.kinds))
        rows = self.present.get(name)
        return torch.ones(len(self), dtype=torch.bool, device=self.values[name].device) if rows is None else rows

    def having_any(self) -> Tensor:
        """Which samples have a field at all: bool (n,)."""
        return torch.stack([self.having(name) for name in self.kinds]).any(0)

    def with_fields(self, names: Sequence[str]) -> "Samples":
        """The samples with the fields `names` alone: no sample has any of the others, whose values are zeros.

        A row that lacks a field of `names` lacks it on. Raises UsageError for a name that is no field.
        """
        if wrong := [name for name in names if name not in self.kinds]:
            raise unknown("field", wrong[0], tuple(self.kinds))
        values = dict(self.values)
        present = dict(self.present)
        for name in self.kinds.keys() - set(names):
            values[name] = self.kinds[name].zeros(len(self)).to(self.values[name].device)
            present[name] = torch.zeros(len(self), dtype=torch.bool, device=self.values[name].device)
        return Samples(self.kinds, values, present)

    def to(self, device: torch.device | str) -> "Samples":
        """The samples on `device`."""
        return self._each(lambda tensor: tensor.to(device))

    def split(self, size: int) -> "list[Samples]":
        """Parts of `size` samples in their order; the last may be smaller."""
        return [self[slice(start, start + size)] for start in range(0, max(len(self), 1), size)]

    def part(self, names: Sequence[str]) -> "Samples":
        """The samples with the fields `names` alone, in the order of all fields; the others are no fields any more."""
        if self.kinds.keys() <= set(names):
            return self
        kinds = {name: kind for name, kind in self.kinds.items() if name in names}
        present = {name: rows for name, rows in self.present.items() if name in names}
        return Samples(kinds, {name: self.values[name] for name in kinds}, present)

    def inputs(self) -> Inputs:
        """The inputs of a network: the one field's values, or those of all by name, 0 where a row lacks the field."""
        if len(self.kinds) == 1:
            name, kind = next(iter(self.kinds.items()))
            return kind.to_network(self.values[name])
        inputs = {name: self._input(name, kind) for name, kind in self.kinds.items()}
        return inputs | {name + PRESENT: self.having(name).float()[:, None] for name in self.kinds}

    def _input(self, name: str, kind: Kind) -> Tensor:
        values = kind.to_network(self.values[name])
        present = self.present.get(name)
        return values if present is None else values * present.view(-1, *[1] * (values.ndim - 1))

    def varied(self, setting: str, rng: torch.Generator) -> "Samples":
        """An augmented copy for a training step; each kind decides what the configuration's `setting` means."""
        if all(kind.augmentation(setting) == "none" for kind in self.kinds.values()):
            return self
        values = {
            name: kind.varied(self.values[name], kind.augmentation(setting), rng) for name, kind in self.kinds.items()
        }
        return Samples(self.kinds, values, self.present)

    def can_draw_changes(self, setting: str) -> bool:
        """Whether `draw_changes` can draw what `varied` draws: the kind of the one field has to."""
        return len(self.kinds) == 1 and not self.present and hasattr(self.kind, "draw_changes")

    def draw_changes(self, n: int, setting: str, rng: torch.Generator) -> tuple[Tensor, ...]:
        """What `varied` draws for `n` samples, on the CPU, for `changed`; see `can_draw_changes`."""
        kind: Any = self.kind
        changes: tuple[Tensor, ...] = kind.draw_changes(n, kind.augmentation(setting), rng)
        return changes

    def changed(self, *changes: Tensor) -> "Samples":
        """A copy varied by the draws of `draw_changes`; the samples themselves where there are none."""
        if not changes:
            return self
        kind: Any = self.kind
        return Samples(self.kinds, {next(iter(self.kinds)): kind.changed(self.only, *changes)})

    @property
    def kind(self) -> Kind:
        """The kind of the first field."""
        return next(iter(self.kinds.values()))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Samples":
        """The samples with each tensor changed in one way that leaves them samples: they are not checked again."""
        changed = object.__new__(Samples)
        values = {name: change(tensor) for name, tensor in self.values.items()}
        present = {name: change(tensor) for name, tensor in self.present.items()}
        for name, part in (("kinds", self.kinds), ("values", values), ("present", present)):
            object.__setattr__(changed, name, part)
        return changed


def concatenate(parts: Sequence[Samples]) -> Samples:
    """All samples of the parts, which have the same fields, in their order."""
    kinds = parts[0].kinds
    values = {name: torch.cat([part.values[name] for part in parts]) for name in kinds}
    partial = {name for part in parts for name in part.present}
    present = {name: torch.cat([part.having(name) for part in parts]) for name in partial}
    return Samples(kinds, values, present)


def from_network(kinds: Mapping[str, Kind], outputs: Inputs) -> Samples:
    """Samples at rest from a generator's outputs, which have the form of a network's inputs.

    No sample has a field that is not among the outputs.
    """
    if isinstance(outputs, Tensor):
        name, kind = next(iter(kinds.items()))
        return Samples(kinds, {name: kind.to_rest(outputs)})
    fields = [name for name in kinds if name in outputs]
    first = outputs[fields[0]]
    values = {
        name: kind.to_rest(outputs[name]) if name in outputs else kind.zeros(len(first)).to(first.device)
        for name, kind in kinds.items()
    }
    return Samples(kinds, values).with_fields(fields)


def example_inputs(kinds: Mapping[str, Kind], n: int, make: Callable[[Sequence[int]], Tensor]) -> Inputs:
    """The inputs of a network for `n` samples that have all fields; `make` gives values float32 of a shape."""
    if len(kinds) == 1:
        return make((n, *next(iter(kinds.values())).shape))
    values = {name: make((n, *kind.shape)) for name, kind in kinds.items()}
    return values | {name + PRESENT: torch.ones(n, 1) for name in kinds}


def to_tensors(samples: Samples, prefix: str) -> dict[str, Tensor]:
    """The samples as tensors by name, for a file, which holds no NaN; the inverse of `from_tensors`."""
    tensors = {f"{prefix}{name}": tensor for name, tensor in samples.values.items()}
    for name, tensor in samples.values.items():
        if tensor.is_floating_point() and bool((absent := tensor.isnan()).any()):
            tensors |= {f"{prefix}{name}": tensor.masked_fill(absent, 0.0), f"{prefix}{name}{GAPS}": absent}
    return tensors | {f"{prefix}{name}{PRESENT}": tensor for name, tensor in samples.present.items()}


def from_tensors(kinds: Mapping[str, Kind], tensors: Mapping[str, Tensor], prefix: str) -> Samples:
    """The samples from the tensors of `to_tensors`, which may come from anywhere.

    Raises UsageError where a field is missing, or the tensors do not fit each other.
    """
    for name in kinds:
        if f"{prefix}{name}" not in tensors:
            raise UsageError(f"the samples lack the field {name}")
    values = {name: _with_gaps(tensors[f"{prefix}{name}"], tensors.get(f"{prefix}{name}{GAPS}")) for name in kinds}
    marked = {name: f"{prefix}{name}{PRESENT}" for name in kinds if f"{prefix}{name}{PRESENT}" in tensors}
    present = {name: tensors[mark] for name, mark in marked.items()}
    for name, rows in present.items():
        if rows.dtype != torch.bool or rows.ndim != 1:
            raise UsageError(f"the samples do not say which rows have the field {name}")
    return Samples(kinds, values, present)


def _with_gaps(values: Tensor, gaps: Tensor | None) -> Tensor:
    if gaps is None:
        return values
    if gaps.dtype != torch.bool or gaps.shape != values.shape or not values.is_floating_point():
        raise UsageError("the samples do not say which values are missing")
    return values.masked_fill(gaps, torch.nan)
