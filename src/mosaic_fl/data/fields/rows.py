"""Rows of several fields before decoding, and the parts of the schema that such rows have."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_fl.data.names import listing
from mosaic_fl.data.rows import choose_column
from mosaic_fl.data.table.frame import Cells, Frame
from mosaic_fl.data.table.frame import join as join_frames
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.errors import UsageError

LABEL_COLUMNS = ("label", "labels", "class")  # the usual names, where no table says one


@dataclass(frozen=True)
class FieldRows:
    """n rows of several fields.

    `frame` has every column; those of pictures hold the pictures' names. `pictures` has each column's n pictures, None
    where a row has none.
    """

    frame: Frame
    pictures: Mapping[str, Sequence[Picture]]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def source(self) -> str:
        """The file, or the words for a user's memory."""
        return self.frame.source

    @property
    def cells(self) -> dict[str, Cells]:
        """The columns that are no pictures."""
        return {name: cells for name, cells in self.frame.columns.items() if name not in self.pictures}

    def place(self, name: str) -> Callable[[int], str]:
        """From a row to the words for its picture in the column `name`, for an error."""
        return lambda row: f"{self.frame.place(row)}, column {name!r},"

    def at(self, rows: npt.NDArray[Any]) -> "FieldRows":
        """The rows of these numbers or truth values, in this order."""
        numbers = np.arange(len(self))[rows].tolist()
        return FieldRows(
            self.frame.at(rows), {name: [column[row] for row in numbers] for name, column in self.pictures.items()}
        )

    def without(self, names: Collection[str]) -> "FieldRows":
        """The rows without these columns."""
        pictures = {name: column for name, column in self.pictures.items() if name not in names}
        return FieldRows(self.frame.without(names), pictures)

    def label_column(self, name: str) -> str:
        """The column of labels `name`, else one with a usual name; raises UsageError where that is none."""
        return choose_column(list(self.cells), name, LABEL_COLUMNS, "--label-column", self.source)


def join(parts: Sequence[FieldRows], source: str) -> FieldRows:
    """The rows of several files of one data set; raises UsageError where their columns differ."""
    if len(parts) == 1:
        return parts[0]
    frame = join_frames([part.frame for part in parts], source)
    names = parts[0].pictures
    if strange := [part for part in parts if part.pictures.keys() != names.keys()]:
        raise UsageError(f"{parts[0].source} and {strange[0].source} differ in their columns of pictures")
    pictures = {name: [picture for part in parts for picture in part.pictures[name]] for name in names}
    return FieldRows(frame, pictures)


def images_in(schema: Schema) -> dict[str, Image]:
    """The fields of a schema that are images, by name."""
    return {name: kind for name, kind in schema.fields.items() if isinstance(kind, Image)}


def table_in(schema: Schema) -> tuple[str, Table] | None:
    """The name and the kind of the one field of a schema that is a table; None where there is none.

    Raises UsageError for two tables, and for a field of a kind that no file holds.
    """
    if strange := [name for name, kind in schema.fields.items() if not isinstance(kind, Image | Table)]:
        raise UsageError(f"field {strange[0]!r} of the schema is of a kind that no file holds: give a Dataset")
    tables = [(name, kind) for name, kind in schema.fields.items() if isinstance(kind, Table)]
    if len(tables) > 1:
        raise UsageError(f"the schema has the tables {listing([name for name, _ in tables])}: a file holds one")
    return tables[0] if tables else None


def has_fields(schema: Schema | None) -> bool:
    """Whether samples of a schema have several fields."""
    return schema is not None and len(schema.fields) > 1
