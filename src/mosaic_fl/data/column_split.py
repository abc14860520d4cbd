"""The split `by_column`: clients differ in the population, as hospitals do, not in the classes that they hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_fl.config import PartitionConfig
from mosaic_fl.data.names import in_order, listing
from mosaic_fl.data.table.frame import Frame, missing_mask, texts
from mosaic_fl.data.table.values import numbers
from mosaic_fl.errors import UsageError

Indices = npt.NDArray[np.int64]
Column = npt.NDArray[Any]
"""Values (n,) of one column: float64 with NaN for a missing one, or text as objects with "" for a missing one."""


def column_indices(column: Column, config: PartitionConfig) -> list[Indices]:
    """The rows of each client, by their values in `column`.

    A column of text, or one with at most as many different numbers as clients, has one client a value, in the order of
    values. Other numbers are ordered, and cut into groups of equal size; missing ones come last. Raises UsageError
    where there are not as many values as clients, and for a missing site.
    """
    clients = config.clients
    if column.dtype != object:
        different = np.unique(column[~np.isnan(column)]).tolist()
        if len(different) > clients:
            return [np.sort(part) for part in np.array_split(np.argsort(column, kind="stable"), clients)]
        missing = np.isnan(column)
        sites = [column == value for value in different]
    else:
        names = in_order(name for name in column.tolist() if name)
        missing = column == ""
        sites = [column == name for name in names]
        different = list(names)
    if missing.any():
        raise UsageError(f"{int(missing.sum())} rows have no value in the column of sites: leave them out, or name one")
    if len(sites) != clients:
        raise UsageError(
            f"the column of sites has {len(sites)} values ({listing(different, 5)}), and there are {clients} clients: "
            f"say --clients {len(sites)}"
        )
    return [np.flatnonzero(site) for site in sites]


def split_values(frame: Frame, name: str, label: str, missing: Sequence[str], decimal: str) -> Column | None:
    """The column that divides the clients: numbers where all its values are some, else texts; None without a name."""
    if not name:
        return None
    if name == label:
        raise UsageError(f"the column {name!r} is the label: --split niid_bench with --alpha divides by classes")
    cells = frame.column(name)
    absent = missing_mask(cells, missing)
    values = numbers(cells, decimal)
    if not np.isnan(values[~absent]).any():
        values[absent] = np.nan
        return values
    return np.where(absent, "", texts(cells)).astype(object)
