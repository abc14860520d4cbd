"""Samples of several fields -> a table that `load_file` reads back by the same schema."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from mosaic_fl.data.fields.rows import images_in, table_in
from mosaic_fl.data.table.export import LABEL, arrow_columns
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError


def field_table(data: Dataset, encode: Callable[[Tensor], bytes]) -> Any:
    """The samples as a pyarrow table: images as structs of `encode`d bytes, the table's columns, and class names.

    A field that no sample has, has no column. Raises UsageError for images that no file holds.
    """
    import pyarrow as pa

    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    samples = data.samples
    named = table_in(data.schema)
    columns = dict[str, Any]()
    for name, image in images_in(data.schema).items():
        if image.shape[0] not in (1, 3):
            raise UsageError(f"images of {image.shape[0]} channels cannot be stored as PNG: only 1 (grey) or 3 (RGB)")
        if name in samples.fields:
            cells = zip(samples.values[name], samples.having(name).tolist(), strict=True)
            columns[name] = pa.array(
                [{"bytes": encode(pixels), "path": None} if has else None for pixels, has in cells], kind
            )
    label = LABEL
    if named:
        name, table = named
        label = table.label or LABEL
        if name in samples.fields:
            columns |= arrow_columns(table, samples.values[name], samples.having(name))
    classes = np.array(data.schema.classes, object)[data.labels.numpy()]
    return pa.table({**columns, label: pa.array(classes.tolist(), pa.string())})
