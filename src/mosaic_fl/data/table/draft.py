"""A schema drafted from one site's table, in which no value stands that fewer than a few rows have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mosaic_fl.config.experiment import MISSING
from mosaic_fl.data.labels import Numbers
from mosaic_fl.data.names import listing
from mosaic_fl.data.table.decimals import decimal_sign
from mosaic_fl.data.table.frame import Cells, Frame, Mask, missing_mask, texts
from mosaic_fl.data.table.guess import FEW, LeftOut, guess
from mosaic_fl.data.table.rows import labels_of, table_of
from mosaic_fl.data.table.values import parse_column
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

TRUTH = ("false", "true")
MOST_CLASSES = 100  # more are no classes but numbers


@dataclass(frozen=True)
class Draft:
    """A drafted schema; `left_out` has the reason for each column that is no feature, `remarks` what else to know."""

    schema: Schema
    left_out: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)


def draft(
    frame: Frame,
    label: str,
    *,
    ignore: Mapping[str, str],
    least: int,
    missing: Sequence[str] = MISSING,
    all_classes: bool = False,
) -> Draft:
    """A schema of the kind `table` for such rows, with the classes in the column `label`.

    Columns of ids, free text, dates and constants are left out, and so are those in `ignore`,
    each with its reason. Categories that fewer
    than `least` rows have are left out and count as missing. So are such classes, unless `all_classes`. Raises
    UsageError where there is no such column, no feature, or are fewer than two classes.
    """
    label = frame.label_column(label)
    for name in ignore:
        frame.column(name)
    classes, rare = draft_classes(frame, label, missing, 1 if all_classes else least)
    drafted = draft_columns(frame, label, ignore=ignore, least=least, missing=missing)
    if not drafted.columns:
        raise UsageError(f"{frame.source} has no column to learn from ({drafted.reasons})")
    return Draft(Schema({Table.name: drafted.table(label, missing)}, classes), drafted.left_out, rare | drafted.remarks)


@dataclass(frozen=True)
class DraftedColumns:
    """The columns of a draft and the sign before decimals; `left_out` and `remarks` are as in `Draft`."""

    columns: tuple[Column, ...]
    decimal: str
    left_out: dict[str, str]
    remarks: dict[str, str]

    @property
    def reasons(self) -> str:
        """The first columns that are left out, each with its reason, in words."""
        return "; ".join(f"{name}: {reason}" for name, reason in list(self.left_out.items())[:3])

    def table(self, label: str, missing: Sequence[str]) -> Table:
        """The table of these columns."""
        return Table(self.columns, label, tuple(missing), self.decimal)


def draft_columns(
    frame: Frame, label: str, *, ignore: Mapping[str, str], least: int, missing: Sequence[str]
) -> DraftedColumns:
    """The columns of a table that has such rows; arguments are as in `draft`. There may be none."""
    decimal = decimal_sign(frame, [name for name in frame.columns if name != label and name not in ignore], missing)
    columns = list[Column]()
    left_out = dict[str, str]()
    remarks = dict[str, str]()
    for name, cells in frame.columns.items():
        if name == label:
            continue
        if name in ignore:
            left_out[name] = ignore[name]
            continue
        guessed = guess(name, cells, missing_mask(cells, missing), least, decimal)
        if isinstance(guessed, LeftOut):
            left_out[name] = guessed.reason
            continue
        columns.append(guessed.column)
        remark = copy_remark(cells, frame.columns[label])
        if text := "; ".join(filter(None, [guessed.remark, remark])):
            remarks[name] = text
    return DraftedColumns(tuple(columns), decimal, left_out, remarks)


def draft_classes(
    frame: Frame, label: str, missing: Sequence[str], least: int
) -> tuple[tuple[str, ...], dict[str, str]]:
    """(the classes with at least `least` rows, a remark on the rarer ones by the column of labels, if any).

    Raises UsageError for fewer than two classes.
    """
    classes, rare = _common_classes(frame, label, missing, least)
    if not rare:
        return classes, {}
    words = f"classes with fewer than {least} rows left out: {listing(rare)}; add those that all sites should know"
    return classes, {label: words}


def classes_of(frame: Frame, label: str, missing: Sequence[str]) -> tuple[Numbers, tuple[str, ...]]:
    """(class numbers int64 (n,), names of the classes) of the column `label`: numbers are classes called so.

    Raises UsageError where the numbers are too many to be classes.
    """
    labels = labels_of(frame, label, missing)
    if labels.names is not None:
        return labels.numbers, labels.names
    if {text.casefold() for text in texts(frame.column(label)).tolist()} == {*TRUTH}:
        return labels.numbers, TRUTH
    different = np.unique(labels.numbers)
    if len(different) > MOST_CLASSES:
        raise UsageError(
            f"column {label!r} of {frame.source} has {len(different):,} different numbers: a classifier needs classes, "
            "so write a column with ranges of it, as low, middle, high"
        )
    return np.searchsorted(different, labels.numbers), tuple(map(str, different.tolist()))


def with_classes(frame: Frame, label: str, schema: Schema) -> Frame:
    """The rows whose class is in a schema that was drafted from them; a note counts the others."""
    chosen = of_classes(frame, label, schema.classes, table_of(schema).missing)
    return frame if chosen.all() else frame.at(chosen)


def of_classes(frame: Frame, label: str, classes: Sequence[str], missing: Sequence[str]) -> Mask:
    """Which rows are of these `classes`, bool (n,); a note counts the others."""
    numbers, names = classes_of(frame, label, missing)
    chosen = np.isin(numbers, [number for number, name in enumerate(names) if name in set(classes)])
    if count := int((~chosen).sum()):
        note(f"{count} row{'s' * (count > 1)} of classes that the schema leaves out: left out")
    return np.asarray(chosen, np.bool_)


def _common_classes(frame: Frame, label: str, missing: Sequence[str], least: int) -> tuple[tuple[str, ...], list[str]]:
    """(the classes with at least `least` rows, the rarer ones)."""
    numbers, names = classes_of(frame, label, missing)
    counts = np.bincount(numbers, minlength=len(names))
    common = tuple(name for name, count in zip(names, counts.tolist(), strict=True) if count >= least)
    if len(common) < 2:
        raise UsageError(
            f"column {label!r} of {frame.source} has {len(common)} class{'es' * (len(common) != 1)} with {least} rows "
            "or more: a classifier needs two, so lower --least-rows, or write the schema by hand"
        )
    return common, [name for name in names if name not in common]


def copy_remark(cells: Cells, labels: Cells) -> str:
    """A warning where each value of a column belongs to one class, as in a copy of the labels; else ""."""
    if len(cells) < FEW:
        return ""
    values = texts(cells).tolist()
    targets = texts(labels).tolist()
    if len(set(values)) > 2 * len(set(targets)) or len(set(zip(values, targets, strict=True))) > len(set(values)):
        return ""
    return "each of its values belongs to one class: is it the label under another name? Then leave it out"


def widened(table: Table, frame: Frame) -> Table:
    """The table with missing values allowed where another frame has some, or has categories that are not in it."""
    columns = list[Column]()
    opened = list[str]()
    for column in table.columns:
        part = parse_column(frame, column, table)
        opens = not column.missing and bool((part.absent | part.unseen).any())
        columns.append(replace(column, missing=True) if opens else column)
        opened += [column.name] * opens
    if opened:
        note(
            f"the test rows of {frame.source} lack values, or have other categories, in {listing(opened, 5)}: there "
            "values may be missing"
        )
    return replace(table, columns=tuple(columns))


def tell(draft: Draft, source: str) -> None:
    """Note what was left out of a draft, and what else to know."""
    for name, reason in draft.left_out.items():
        note(f"column {name!r} of {source} is left out: {reason}")
    for name, remark in draft.remarks.items():
        note(f"column {name!r} of {source}: {remark}")
