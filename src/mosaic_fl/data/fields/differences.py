"""The differences between a site's rows of several fields and the schema of all sites, each with what to do."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.decoding import field_form, having_cells, plain_frame
from mosaic_fl.data.fields.rows import FieldRows, images_in, table_in
from mosaic_fl.data.names import listing
from mosaic_fl.data.table.differences import Difference, label_differences, table_differences
from mosaic_fl.data.table.frame import Mask
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.picture import read_picture
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError


def field_differences(rows: FieldRows, schema: Schema, reading: ReadingConfig) -> list[Difference]:
    """All differences of rows from `schema`; every picture is decoded.

    The column of labels is that of `reading`, else the table's. Raises UsageError where there is none.
    """
    named = table_in(schema)
    table = named[1] if named else None
    label = rows.label_column(reading.label_column or (table.label if table else ""))
    frame = plain_frame(rows)
    found = list(label_differences(frame, schema.classes, label, table))
    has = dict[str, Mask]()
    columns = [column.name for column in table.columns] if table else []
    if table and named:
        has[named[0]] = having_cells(rows.cells, columns, table.missing, len(rows))
        if has[named[0]].any():
            found += table_differences(frame.at(has[named[0]]), table)
    for name, image in images_in(schema).items():
        has[name] = np.array([picture is not None for picture in rows.pictures.get(name, [None] * len(rows))])
        found += _of_pictures(rows, name, image, reading)
    if more := [name for name in rows.cells if name not in (*columns, label)]:
        found.append(Difference(f"columns that the schema does not have are not read: {listing(more, 10)}"))
    return [*found, *_of_lacking(has)]


def _of_pictures(rows: FieldRows, name: str, image: Image, reading: ReadingConfig) -> Iterator[Difference]:
    form = field_form(reading, image)
    place = rows.place(name)
    errors = list[str]()
    total = 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for row, picture in enumerate(rows.pictures.get(name, ())):
            if picture is None:
                continue
            total += 1
            words = str(picture) if isinstance(picture, Path) else place(row)
            try:
                pixels, _ = read_picture(picture, form, words)
            except UsageError as error:
                errors.append(str(error))
                continue
            if pixels.shape[1:] != image.shape[1:]:
                sides = ("×".join(map(str, shape[1:])) for shape in (pixels.shape, image.shape))
                errors.append(f"{words} has {next(sides)} pixels, and the schema says {next(sides)}")
    if errors:
        way = "" if reading.skip_broken else " (--skip-broken leaves them out)"
        yield Difference(
            f"{len(errors)} of {total} images in column {name!r} cannot be read, the first: {errors[0]}{way}",
            not reading.skip_broken,
        )


def _of_lacking(has: dict[str, Mask]) -> Iterator[Difference]:
    for name, rows in has.items():
        if not rows.any():
            yield Difference(f"no row has the field {name!r}: other sites may have it")
        elif count := int((~rows).sum()):
            yield Difference(f"{count} of {len(rows)} rows have no {name!r}")
    bare = ~np.any(list(has.values()), axis=0)
    if bare.all():
        yield Difference(f"no row has any of the fields {', '.join(has)}", True)
    elif count := int(bare.sum()):
        yield Difference(f"{count} row{'s' * (count > 1)} without any field: left out")
