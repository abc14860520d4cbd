"""A schema of several fields, drafted from one site's rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.decoding import decode_column, having_cells, plain_frame
from mosaic_fl.data.fields.rows import FieldRows
from mosaic_fl.data.table.draft import Draft, DraftedColumns, draft_classes, draft_columns
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.decoding import Decoded
from mosaic_fl.domains.image.form import picture_form
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.errors import UsageError


@dataclass(frozen=True)
class FieldDraft:
    """A draft, and the pictures of each column that were read for it."""

    draft: Draft
    decoded: Mapping[str, Decoded]


def draft_fields(
    rows: FieldRows,
    label: str,
    reading: ReadingConfig,
    *,
    ignore: Mapping[str, str],
    least: int,
    missing: Sequence[str],
    all_classes: bool = False,
) -> FieldDraft:
    """A schema of such rows: a field for each column of pictures, of their shape, and `table` for the other columns.

    Arguments are as in `table.draft.draft`; `reading` says how pictures are read. The columns of the table are drafted
    from the rows that have a value in one of them. There is no table where no column is a feature. Raises UsageError,
    too, where a column has no picture, and where there would be one field alone.
    """
    label = rows.label_column(label)
    for name in ignore:
        rows.frame.column(name)
    classes, rare = draft_classes(rows.frame, label, missing, 1 if all_classes else least)
    columns = _columns(rows, label, ignore, least, missing)
    if columns.columns and Table.name in rows.pictures:
        raise UsageError(f"{Table.name} is the field of the other columns: name that column of pictures anew")
    images = [name for name in rows.pictures if name not in ignore]
    if len(images) + bool(columns.columns) < 2:
        more = f" ({columns.reasons})" if columns.reasons else ""
        raise UsageError(
            f"{rows.source} has {images[0] if images else 'columns'} alone to learn from{more}: that is one field, "
            "whose schema is from mosaic data --describe (images), or mosaic schema without --image-column (a table)"
        )
    decoded = {name: _pictures(rows, name, reading) for name in images}
    fields: dict[str, Kind] = {}
    for name, column in decoded.items():
        channels, height, width = column.images.shape[1:]
        fields[name] = Image((channels, height, width), picture_form(reading).fit)
    if columns.columns:
        fields[Table.name] = columns.table(label, missing)
    return FieldDraft(Draft(Schema(fields, classes), columns.left_out, rare | columns.remarks), decoded)


def _columns(
    rows: FieldRows, label: str, ignore: Mapping[str, str], least: int, missing: Sequence[str]
) -> DraftedColumns:
    """The table's columns; where some rows have none of them, they are drafted from the others alone."""
    frame = plain_frame(rows)
    ignored = {name: reason for name, reason in ignore.items() if name not in rows.pictures}
    first = draft_columns(frame, label, ignore=ignored, least=least, missing=missing)
    has = having_cells(rows.cells, [column.name for column in first.columns], tuple(missing), len(rows))
    if has.all() or not has.any():
        return first
    rest = draft_columns(frame.without(first.left_out).at(has), label, ignore={}, least=least, missing=missing)
    return DraftedColumns(rest.columns, rest.decimal, first.left_out | rest.left_out, rest.remarks)


def _pictures(rows: FieldRows, name: str, reading: ReadingConfig) -> Decoded:
    decoded = decode_column(rows, name, picture_form(reading), skip_broken=reading.skip_broken)
    if decoded is None:
        raise UsageError(f"column {name!r} of {rows.source} has no picture: draft the schema at a site that has some")
    return decoded
