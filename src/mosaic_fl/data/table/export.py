"""Rows at rest -> a table of plain values, which `load_file` reads back by the same schema."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.data.table.rows import table_of
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.table import Column, Table

LABEL = "label"  # the column of labels where the schema names none


def arrow_table(data: Dataset) -> Any:
    """The rows as a pyarrow table: numbers, truth values and categories by column, then the class names."""
    import pyarrow as pa

    table = table_of(data.schema)
    columns = arrow_columns(table, data.samples.only)
    classes = np.array(data.schema.classes, object)[data.labels.numpy()]
    columns[table.label or LABEL] = pa.array(classes.tolist(), pa.string())
    return pa.table(columns)


def arrow_columns(table: Table, values: Tensor, has: Tensor | None = None) -> dict[str, Any]:
    """The columns of rows at rest float32 (n, D) as arrays of pyarrow; where `has` (n,) is False all are null."""
    if has is not None:
        values = values.masked_fill(~has[:, None], torch.nan)
    return {column.name: _cells(column, values[:, place].numpy()) for place, column in enumerate(table.columns)}


def _cells(column: Column, values: "np.ndarray[Any, Any]") -> Any:
    import pyarrow as pa

    plain = [None if value != value else value for value in values.tolist()]
    if column.type == "category":
        return pa.array([None if code is None else column.categories[int(code)] for code in plain], pa.string())
    kinds = {"boolean": (bool, pa.bool_()), "whole": (int, pa.int64()), "numeric": (float, pa.float64())}
    change, kind = kinds[column.type]
    return pa.array([None if value is None else change(value) for value in plain], kind)
