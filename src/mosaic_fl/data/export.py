"""Labelled samples as Parquet files that `load_file` reads back bit for bit; Hugging Face reads images, too."""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mosaic_fl.data.fields.export import field_table
from mosaic_fl.data.fields.rows import has_fields
from mosaic_fl.data.fields.schema_toml import schema_toml
from mosaic_fl.data.places import at_home, reads
from mosaic_fl.data.schema_file import schema_text
from mosaic_fl.data.table.export import LABEL, arrow_table
from mosaic_fl.data.tables import is_tabular
from mosaic_fl.data.vectors import of_vectors
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_bytes, write_atomic

LIST = "mosaic-split.json"  # lists the files of an export, which a later one may delete
SCHEMA = "schema.toml"
VECTOR_SCHEMA = "schema.json"
NAME = re.compile(r"client-[0-9]{3,}\.parquet|test\.parquet|schema\.(toml|json)")


def save_parquet(data: Dataset, path: str | Path) -> None:
    """Write images in the Hugging Face convention (PNG bytes, int64 labels, class names as metadata), or other samples.

    Rows, vectors and several fields have a column for each column, vector and image, and one of labels.
    Raises UsageError unless the images have 1 (grey) or 3 (RGB) channels, which PNG can hold;
    MosaicError where the file cannot be written. The file is whole or absent.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if is_tabular(data.schema) or has_fields(data.schema):
        rows = io.BytesIO()
        pq.write_table(field_table(data, _png) if has_fields(data.schema) else arrow_table(data), rows)
        write_atomic(Path(path), rows.getvalue())
        return
    labels = {"names": list(data.schema.classes), "_type": "ClassLabel"}
    if of_vectors(data.schema):
        _save_vectors(data, Path(path), labels)
        return
    channels = data.schema.shape[0]
    if channels not in (1, 3):
        raise UsageError(f"images of {channels} channels cannot be stored as PNG: only 1 (grey) or 3 (RGB)")
    schema = pa.schema(
        {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()},
        metadata=_metadata({"image": {"_type": "Image"}, "label": labels}),
    )
    images = [{"bytes": _png(image), "path": None} for image in data.images]
    file = io.BytesIO()
    pq.write_table(pa.table({"image": images, "label": data.labels.numpy()}, schema=schema), file)
    write_atomic(Path(path), file.getvalue())


def _save_vectors(data: Dataset, path: Path, labels: dict[str, Any]) -> None:
    """Write vectors as a column `features` of lists of float32, and their labels with the names of the classes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = data.schema.shape[0]
    field = {"feature": {"dtype": "float32", "_type": "Value"}, "length": size, "_type": "Sequence"}
    schema = pa.schema(
        {"features": pa.list_(pa.float32(), size), "label": pa.int64()},
        metadata=_metadata({"features": field, "label": labels}),
    )
    values = pa.FixedSizeListArray.from_arrays(data.samples.only.flatten().numpy(), size)
    file = io.BytesIO()
    pq.write_table(pa.table({"features": values, "label": data.labels.numpy()}, schema=schema), file)
    write_atomic(path, file.getvalue())


def _metadata(features: dict[str, Any]) -> dict[str, str]:
    """The metadata of a Parquet file that Hugging Face reads."""
    return {"huggingface": json.dumps({"info": {"features": features}})}


def save_split(shards: Sequence[Dataset], test: Dataset, folder: Path) -> None:
    """Write client-000.parquet, …, test.parquet, the schema of tables, fields or vectors, and the list of all these.

    The files of an earlier split are deleted first.
    """
    for old in _ours(folder):
        old.unlink(missing_ok=True)
    parts = {f"client-{k:03d}.parquet": shard for k, shard in enumerate(shards)} | {"test.parquet": test}
    schemas = dict[str, str]()
    if is_tabular(test.schema) or has_fields(test.schema):
        schemas[SCHEMA] = schema_toml(test.schema, label=LABEL)
    elif of_vectors(test.schema):
        schemas[VECTOR_SCHEMA] = schema_text(test.schema)
    write_atomic(folder / LIST, json.dumps({"files": [*parts, *schemas]}) + "\n")
    for name, text in schemas.items():
        write_atomic(folder / name, text)
    for name, data in parts.items():
        save_parquet(data, folder / name)


def require_free(folder: Path, source: Path, *, force: bool) -> None:
    """Raise UsageError where a split may not be written: a file, a folder with content, or the folder of its `source`.

    With `force` the folder may have content: the files of an earlier split are overwritten, and no others.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file: --export names a folder")
    source = at_home(source)
    ours = _ours(folder)
    beginning = not source.exists() and any(reads(source, path) for path in ours if path.exists())
    place = source if source.is_dir() else source.parent
    if (source.exists() or beginning) and folder.resolve() == place.resolve():
        raise UsageError(f"{folder} holds {source}, which is to be split: choose another --export")
    if any(folder.iterdir()) and not force:
        raise UsageError(f"{folder} is not empty: add --force to write into it, or choose another --export")
    for path in folder.iterdir():
        if (NAME.fullmatch(path.name) or path.name == LIST) and path not in ours:
            raise UsageError(f"{path} is of no earlier split here: choose another --export, or move it yourself")


def _ours(folder: Path) -> list[Path]:
    """The files of an earlier split by its list, and that list."""
    try:
        names = json.loads(read_bytes(folder / LIST))["files"]
        return [folder / LIST, *(folder / name for name in names if NAME.fullmatch(name))]
    except (UsageError, ValueError, TypeError, KeyError, RecursionError):
        return []


def _png(image: Tensor) -> bytes:
    """One image, uint8 (1 or 3, h, w), as the bytes of a PNG file."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(file, format="PNG")
    return file.getvalue()
