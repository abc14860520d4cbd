"""Labelled pictures before decoding: the result of every reader of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.labels import Labels, by_name
from mosaic_fl.data.names import in_order, listing, quote
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.errors import UsageError, unknown

READING = ReadingConfig()  # the defaults
IMAGE_OPTION = "--image-column"
IF_TABLE = "if it is a table: --label-column NAME (run) or --schema FILE (contribute)"


@dataclass(frozen=True)
class Rows:
    """n labelled pictures before decoding, with labels int64 (n,).

    `names` holds one class name per label. It is None where the source has no names: then labels are those of the
    source. `coded`: the source numbers its classes itself. Where it does not, only its names have a meaning, not their
    order.
    """

    source: str
    pictures: Sequence[Picture]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...] | None
    coded: bool = True

    def place(self, row: int) -> str:
        """The file or row of a picture, for an error."""
        picture = self.pictures[row]
        return str(picture) if isinstance(picture, Path) else f"row {row} of {self.source}"

    def to_labels(self) -> Labels:
        """The labels with their names."""
        return Labels(self.labels, self.names, self.coded)


def join(parts: Sequence[Rows], source: str) -> Rows:
    """The rows of several files of one data set, in this order; raises UsageError where their classes differ."""
    if len(parts) == 1:
        return parts[0]
    if all(part.names is not None and not part.coded for part in parts):
        names = in_order(name for part in parts for name in part.names or ())
        parts = [replace(part, labels=by_name(part.to_labels(), names, part.source), names=names) for part in parts]
    first = parts[0]
    if any((part.names, part.coded) != (first.names, first.coded) for part in parts):
        raise UsageError(f"{first.source} and the files next to it name different classes: they are no one data set")
    labels = np.concatenate([part.labels for part in parts])
    return Rows(source, [picture for part in parts for picture in part.pictures], labels, first.names, first.coded)


def choose_column(columns: Sequence[str], choice: str, usual: Sequence[str], option: str, source: str) -> str:
    """The column `choice`, or where that is empty, the first of the `usual` names among `columns`, in any case.

    Raises UsageError, with all columns, where there is no such column, and for two that differ in case alone.
    """
    if choice:
        if choice not in columns:
            words = str(unknown("column", choice, map(quote, columns)))
            more = "" if "; known: " in words or ": known: " in words else f"; it has {listing(columns, 30)}"
            raise UsageError(f"{source}: {words}{more}")
        return choice
    for name in usual:
        alike = [column for column in columns if column.strip().casefold() == name]
        if name in alike:
            return name
        if len(alike) > 1:
            raise UsageError(f"{source} has the columns {listing(alike)}: say which with {option}")
        if alike:
            return alike[0]
    table = f"; {IF_TABLE}" if option == IMAGE_OPTION else ""
    raise UsageError(
        f"{source} has no column {' or '.join(usual)}; it has {listing(columns, 30)}: name one with {option}{table}"
    )
