"""Rows of several fields -> samples at rest, in which `present` says what a row has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.rows import FieldRows, images_in, table_in
from mosaic_fl.data.labels import in_classes
from mosaic_fl.data.names import listing
from mosaic_fl.data.table.frame import Cells, Frame, Mask, missing_mask
from mosaic_fl.data.table.rows import labels_of, require_seen, tell_far, tell_unread
from mosaic_fl.data.table.values import Parsed, nearest, parse
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.decoding import Decoded, decode
from mosaic_fl.domains.image.picture import PictureForm
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

MISSING_LABEL = ()  # words for a missing label where no table names some: an empty cell alone


@dataclass(frozen=True)
class TableRows:
    """A table's values at rest, float32 (n, D), and which of n rows have any: bool (n,).

    `parsed` holds the cells as they were read, None where no row has the table.
    """

    values: Tensor
    has: Mask
    parsed: Parsed | None


def field_form(reading: ReadingConfig, image: Image, *, to_grey: bool = False) -> PictureForm:
    """The form in which pictures of a field are read: the schema's channels, size if that is square, and fit.

    A coloured picture of a grey field is refused, unless `reading` or `to_grey` says to make it grey.
    """
    channels, height, width = image.shape
    if channels not in (1, 3):
        raise UsageError(f"a field has images of {channels} channels, and image files have 1 or 3: give a Dataset")
    fit = image.fit if reading.fit == "auto" else reading.fit
    size = height if height == width else 0
    return PictureForm(channels, size, fit, reading.pixel_range, to_grey or reading.channels == "grey")


def decode_column(rows: FieldRows, name: str, form: PictureForm, *, skip_broken: bool) -> Decoded | None:
    """The pictures of a column with the row of each; None where no row has one. Errors are those of `decode`."""
    column = rows.pictures.get(name, ())
    numbers = [row for row, picture in enumerate(column) if picture is not None]
    if not numbers:
        return None
    source = f"{rows.source} in column {name!r}"
    place = rows.place(name)
    pictures = [column[row] for row in numbers]
    decoded = decode(pictures, source, form, skip_broken=skip_broken, place=lambda row: place(numbers[row]))
    return Decoded(decoded.images, torch.tensor(numbers)[decoded.rows])


def require_shape(decoded: Decoded, image: Image, source: str) -> None:
    """Raise UsageError where the pictures of a column do not have the shape of the schema."""
    if (actual := tuple(decoded.images.shape[1:])) != image.shape:
        form, own = ("×".join(map(str, shape)) for shape in (image.shape, actual))
        raise UsageError(f"the images of {source} are {own}, and the schema says {form}: resize them yourself")


def table_rows(rows: FieldRows, table: Table) -> TableRows:
    """The values of the columns of `table`; a row without any of them lacks the table.

    Cells that cannot be read are in `parsed.errors`. Raises UsageError where the rows have some of the columns, and
    lack one that is never missing.
    """
    has = having_cells(rows.cells, [column.name for column in table.columns], table.missing, len(rows))
    values = table.zeros(len(rows))
    if not has.any():
        return TableRows(values, has, None)
    parsed = parse(plain_frame(rows), table, has)
    has &= ~parsed.empty
    good = has.copy()
    good[list(parsed.errors)] = False
    index = torch.from_numpy(good)
    values[index] = torch.from_numpy(parsed.values)[index]
    return TableRows(values, has, parsed)


def having_cells(cells: Mapping[str, Cells], names: list[str], missing: tuple[str, ...], n: int) -> Mask:
    """Which of n rows have a value in one of the columns `names`."""
    has = np.zeros(n, np.bool_)
    for name in names:
        if name in cells:
            has |= ~missing_mask(cells[name], missing)
    return has


def plain_frame(rows: FieldRows) -> Frame:
    """The columns that are no pictures; there must be one."""
    return replace(rows.frame, columns=rows.cells)


def read_fields(
    rows: FieldRows, schema: Schema, reading: ReadingConfig, decoded: Mapping[str, Decoded | None] | None = None
) -> tuple[Mask, Dataset]:
    """The labelled rows as samples of `schema`, and which rows these are, bool (n,).

    The column of labels is that of `reading`, else the table's. Where the schema was drafted from these rows, `decoded`
    has their pictures. Rows without any field are left out with a note. Notes say how many rows lack a field. Raises
    UsageError, with the first row, for rows that cannot be read.
    """
    named = table_in(schema)
    label = rows.label_column(reading.label_column or (named[1].label if named else ""))
    if label in images_in(schema) or label in _columns(named):
        raise UsageError(f"column {label!r} is the label and a feature of the schema: take it out of one of them")
    labels = labels_of(rows.frame, label, named[1].missing if named else MISSING_LABEL)
    numbers, _ = in_classes(labels, schema.classes, rows.frame.place, rows.source)
    samples = samples_of(rows, schema, reading, label, decoded)
    kept = samples.having_any()
    if not kept.all():
        if not kept.any():
            raise UsageError(f"no row of {rows.source} has any of the fields {', '.join(schema.fields)}")
        note(f"{int((~kept).sum())} of the {len(rows)} rows of {rows.source} have no field at all: left out")
    targets = torch.as_tensor(numbers, dtype=torch.int64)
    return kept.numpy(), Dataset(samples[kept], targets[kept], schema)


def samples_of(
    rows: FieldRows,
    schema: Schema,
    reading: ReadingConfig,
    label: str = "",
    decoded: Mapping[str, Decoded | None] | None = None,
) -> Samples:
    """All rows as samples of `schema`, also those without any field; arguments and errors are those of `read_fields`.

    `label` is a column that is no feature, and may not be there.
    """
    named = table_in(schema)
    has = dict[str, Mask]()
    values = dict[str, Tensor]()
    if named:
        values[named[0]], has[named[0]] = _table(rows, named[1], label, drafted=decoded is not None)
    for name, image in images_in(schema).items():
        column = decoded.get(name) if decoded is not None else _decoded(rows, name, image, reading)
        values[name], has[name] = _placed(column, image, len(rows))
    unread = [name for name in rows.cells if name not in _columns(named) and name != label]
    if unread and not (named and has[named[0]].any()):
        note(f"columns of {rows.source} that the schema does not have are not read: {listing(unread)}")
    _tell_lacking(has, rows.source, unread)
    present = {name: torch.from_numpy(has[name]) for name in schema.fields if not has[name].all()}
    return Samples(schema.fields, {name: values[name] for name in schema.fields}, present)


def _table(rows: FieldRows, table: Table, label: str, *, drafted: bool) -> tuple[Tensor, Mask]:
    read = table_rows(rows, table)
    if read.parsed is None:
        return read.values, read.has
    frame = plain_frame(rows)
    tell_unread(frame, table, label)
    if errors := read.parsed.errors:
        more = f" ({len(errors):,} rows cannot be read)" if len(errors) > 1 else ""
        raise UsageError(f"{errors[min(errors)]}{more}")
    require_seen(frame, read.parsed.columns)
    for part in () if drafted else read.parsed.columns:
        tell_far(frame, part)
    return read.values, read.has


def _decoded(rows: FieldRows, name: str, image: Image, reading: ReadingConfig) -> Decoded | None:
    column = decode_column(rows, name, field_form(reading, image), skip_broken=reading.skip_broken)
    if column is not None:
        require_shape(column, image, f"{rows.source} in column {name!r}")
    return column


def _placed(decoded: Decoded | None, image: Image, n: int) -> tuple[Tensor, Mask]:
    """n images of which those rows that have none are black, and which rows have one."""
    has = np.zeros(n, np.bool_)
    if decoded is None:
        return image.zeros(n), has
    has[decoded.rows.numpy()] = True
    if len(decoded.rows) == n:
        return decoded.images, has
    values = image.zeros(n)
    values[decoded.rows] = decoded.images
    return values, has


def _columns(named: tuple[str, Table] | None) -> tuple[str, ...]:
    return tuple(column.name for column in named[1].columns) if named else ()


def _tell_lacking(has: Mapping[str, Mask], source: str, unread: Sequence[str]) -> None:
    """Note the fields that no row has, with the column that may be meant, and those that some rows lack."""
    for name, rows in has.items():
        if not rows.any():
            near = nearest(name, unread)
            note(f"no row of {source} has the field {name!r}" + f" (did you mean the column {near}?)" * bool(near))
        elif count := int((~rows).sum()):
            note(f"{count} of the {len(rows)} rows of {source} have no {name!r}")
