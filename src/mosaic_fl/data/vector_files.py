"""Files of vectors: an .npz or .npy file of NumPy, or a Parquet file with a column of lists. All may be hostile."""

import io
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.columns import choose_image, column_of, names, numbers
from mosaic_fl.data.labels import Labels, read_labels
from mosaic_fl.data.names import listing
from mosaic_fl.data.parquet import EXPANSION, MAX_BYTES, as_parquet, open_parquet, read_table
from mosaic_fl.data.reading import LABEL_COLUMNS, labels_of
from mosaic_fl.data.rows import choose_column
from mosaic_fl.errors import MosaicError, UsageError, in_one_line
from mosaic_fl.notes import note
from mosaic_fl.storage.files import read_bytes

VECTOR_SUFFIXES = (".npz", ".npy")
FEATURES = ("features", "feature", "embeddings", "embedding", "vectors", "vector", "x")
LABELS = ("labels", "label", "y")
MAX_FILE = 2**36  # bytes
MAX_HEADER = 10_000  # characters of the header of a NumPy array

Array = npt.NDArray[Any]


def is_vector_file(file: Path, reading: ReadingConfig) -> bool:
    """Whether a file is one of vectors: by its ending, or a Parquet file with a column of lists of numbers.

    That column has one of the usual names, or is the one that `reading` names.
    """
    if file.suffix.lower() in VECTOR_SUFFIXES:
        return True
    if file.suffix.lower() != ".parquet":
        return False
    with open_parquet(file) as parquet:
        return _features(parquet.schema_arrow, reading) is not None


def read_vectors(file: Path, reading: ReadingConfig) -> tuple[Array, Labels | None]:
    """The vectors (n, size) of a file, of any type of number, and their labels, None in a file without some.

    Raises UsageError for another file, and for arrays of other shapes.
    """
    ending = file.suffix.lower()
    if ending == ".parquet":
        return _of_parquet(file, reading)
    content = read_bytes(file, MAX_FILE)
    arrays = {"features": _array(content, str(file))} if ending == ".npy" else _members(content, str(file), reading)
    features = arrays["features"]
    if features.ndim != 2 or features.dtype.kind not in "fiu":
        raise UsageError(f"{file} has features {features.dtype} {features.shape}, which are no numbers (n, size)")
    if "labels" not in arrays:
        return features, None
    return features, read_labels(arrays["labels"], lambda row: f"row {row} of {file}", str(file))


def _members(content: bytes, source: str, reading: ReadingConfig) -> dict[str, Array]:
    """The arrays `features` and, where there are some, `labels` of an .npz file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            title = choose_column(list(members), reading.image_column, FEATURES, "--image-column", source)
            chosen = {"features": members[title]}
            label = _label_title(list(members), reading, source)
            if label:
                chosen["labels"] = members[label]
            if unread := [name for name in members if name not in (title, label)]:
                note(f"arrays of {source} that are not read: {listing(unread)}")
            most = MAX_BYTES + EXPANSION * len(content)
            for info in chosen.values():
                if info.file_size > most:
                    raise UsageError(f"{source} unfolds to more than {most:,} bytes: split it into several files")
            return {name: _array(archive.read(info), source) for name, info in chosen.items()}
    except MosaicError:
        raise
    except Exception as error:  # a damaged archive raises errors of many types
        raise UsageError(f"{source} is no .npz file of NumPy: {in_one_line(error)}") from error


def _label_title(titles: list[str], reading: ReadingConfig, source: str) -> str:
    """The array or column of labels, or "" where there is none."""
    if reading.label_column:
        return choose_column(titles, reading.label_column, LABELS, "--label-column", source)
    alike = [title for name in LABELS for title in titles if title.strip().casefold() == name]
    return alike[0] if alike else ""


def _array(content: bytes, source: str) -> Array:
    """The array in the bytes of an .npy file, which is never unpickled; its header is checked before its values."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, is_fortran, dtype = read(stream, max_header_size=MAX_HEADER)
    except Exception as error:  # the header is Python's text, so its errors are of many types
        raise UsageError(f"{source} is no array of NumPy: its header cannot be read") from error
    if dtype.hasobject or dtype.names or dtype.kind not in "biufUS":
        raise UsageError(f"{source} has an array of {dtype.kind!r}, which is neither numbers nor text: it is not read")
    rest = len(content) - stream.tell()
    if any(side < 0 for side in shape) or prod(shape) * dtype.itemsize != rest:
        raise UsageError(f"{source} is damaged: an array {shape} of {dtype} does not have {rest:,} bytes")
    if not rest:
        return np.zeros(shape, dtype)
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def _of_parquet(file: Path, reading: ReadingConfig) -> tuple[Array, Labels | None]:
    source = str(file)
    chosen = dict[str, str]()

    def select(schema: Any) -> list[str]:
        features = _features(schema, reading)
        chosen["features"] = features or choose_image(schema, reading, source)
        label = _label_column(schema, reading, source)
        if label:
            chosen["labels"] = label
        if unread := [name for name in names(schema) if name not in chosen.values()]:
            note(f"columns of {source} that are not read: {listing(unread)}")
        return list(chosen.values())

    table = read_table(file, select)
    with as_parquet(source):
        features = _lists(column_of(table, chosen["features"]), source)
        return features, labels_of(table, chosen["labels"], source) if "labels" in chosen else None


def _label_column(schema: Any, reading: ReadingConfig, source: str) -> str:
    usual = {*LABELS, *LABEL_COLUMNS}
    if reading.label_column or any(name.strip().casefold() in usual for name in schema.names):
        return choose_column(schema.names, reading.label_column, (*LABEL_COLUMNS, "y"), "--label-column", source)
    return ""


def _features(schema: Any, reading: ReadingConfig) -> str | None:
    """The column of vectors of a Parquet schema; None where there is none."""
    lists = [field.name for field in schema if _is_list(field.type)]
    if reading.image_column:
        return reading.image_column if reading.image_column in lists else None
    return next((name for usual in FEATURES for name in lists if name.strip().casefold() == usual), None)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        return False
    return bool(types.is_floating(kind.value_type) or types.is_integer(kind.value_type))


def _lists(column: Any, source: str) -> Array:
    """A column of lists as an array (n, size); raises UsageError where the lists differ in length."""
    import pyarrow.compute as pc

    if column.null_count:
        raise UsageError(f"row {pc.index(pc.is_null(column), True).as_py()} of {source} has no vector")
    lengths = numbers(pc.list_value_length(column))
    if not len(lengths):
        raise UsageError(f"{source} has no rows")
    if (odd := np.flatnonzero(lengths != lengths[0])).size:
        raise UsageError(f"row {odd[0]} of {source} has {lengths[odd[0]]} numbers, row 0 {lengths[0]}")
    values = numbers(pc.list_flatten(column))
    return np.asarray(values, np.float32 if values.dtype == np.float32 else np.float64).reshape(len(lengths), -1)
