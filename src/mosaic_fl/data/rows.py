"""Labelled pictures that are not yet decoded: what every reader of a data set gives."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.labels import Labels, by_name
from mosaic_fl.data.names import in_order, listed, shown
from mosaic_fl.domains.image.opening import Picture
from mosaic_fl.errors import UsageError, unknown

READING = ReadingConfig()  # the defaults


@dataclass(frozen=True)
class Rows:
    """Labelled pictures, not yet decoded: n of them, with labels int64 (n,).

    `names` holds one class name per label, or is None where the source has none; then labels are what the source says.
    `coded`: the source numbers its classes itself; where it does not, its names alone count, and their order is ours.
    """

    source: str
    pictures: Sequence[Picture]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...] | None
    coded: bool = True

    def place(self, row: int) -> str:
        """Where a row lies, for an error."""
        picture = self.pictures[row]
        return str(picture) if isinstance(picture, Path) else f"row {row} of {self.source}"

    def labelled(self) -> Labels:
        """The labels with their names."""
        return Labels(self.labels, self.names, self.coded)


def join(parts: Sequence[Rows], source: str) -> Rows:
    """The rows of several files of one data set, in this order; raises UsageError where they name other classes."""
    if len(parts) == 1:
        return parts[0]
    if all(part.names is not None and not part.coded for part in parts):
        names = in_order(name for part in parts for name in part.names or ())
        parts = [replace(part, labels=by_name(part.labelled(), names, part.source), names=names) for part in parts]
    first = parts[0]
    if any((part.names, part.coded) != (first.names, first.coded) for part in parts):
        raise UsageError(f"{first.source} and the files next to it name different classes: they are no one data set")
    labels = np.concatenate([part.labels for part in parts])
    return Rows(source, [picture for part in parts for picture in part.pictures], labels, first.names, first.coded)


def choose_column(present: Sequence[str], wanted: str, usual: Sequence[str], option: str, source: str) -> str:
    """The column that is `wanted`, or without one the first of the `usual` names that is there, in any case.

    Raises UsageError, with the columns that there are, where there is none, and for two that differ in case alone.
    """
    if wanted:
        if wanted not in present:
            raise UsageError(
                f"{source}: {unknown('column', wanted, map(shown, present))}; it has {listed(present, 30)}"
            )
        return wanted
    for name in usual:
        alike = [column for column in present if column.strip().casefold() == name]
        if name in alike:
            return name
        if len(alike) > 1:
            raise UsageError(f"{source} has the columns {listed(alike)}: say which with {option}")
        if alike:
            return alike[0]
    raise UsageError(
        f"{source} has no column {' or '.join(usual)}; it has {listed(present, 30)}: name one with {option}"
    )
