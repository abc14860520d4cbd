"""Files of vectors for the fuzzer: .npz, .npy, and Parquet with a column of lists."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_mutation import mutate_bytes
from fuzz_reader import Reader, read_any, written

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.sources import load_file
from mosaic_fl.data.vector_files import read_vectors

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.array([0, 1, 1, 0])


def _archives(_folder: Path) -> list[bytes]:
    made: list[dict[str, Any]] = [
        {"features": VALUES, "labels": LABELS},
        {"X": VALUES.astype(np.float16), "y": LABELS.astype(str)},
        {"x": VALUES.T.astype(np.int64).T, "label": LABELS.astype(np.float64), "ids": LABELS},
    ]
    return [_saved(save, arrays) for arrays in made for save in (np.savez, np.savez_compressed)]


def _saved(save: Any, arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def _arrays(_folder: Path) -> list[bytes]:
    return [_saved(lambda stream, a: np.save(stream, a), {"a": array}) for array in (VALUES, VALUES.T)]


def _tables(folder: Path) -> list[bytes]:
    lists = [pa.array(list(VALUES)), pa.FixedSizeListArray.from_arrays(VALUES.flatten(), 3)]
    files = []
    for values in lists:
        pq.write_table(pa.table({"features": values, "label": LABELS}), folder / "x.parquet")
        files.append((folder / "x.parquet").read_bytes())
    return files


def _read(name: str) -> Any:
    return lambda data, folder: load_file(written(folder / name, data), ReadingConfig(), classes=2)


def _read_array(data: bytes, folder: Path) -> None:
    path = written(folder / "x.npy", data)
    read_any(lambda: read_vectors(path, ReadingConfig()))


VECTORS = {
    "npz": Reader(_archives, mutate_bytes, _read("x.npz")),
    "npy": Reader(_arrays, mutate_bytes, _read_array),
    "parquet-vectors": Reader(_tables, mutate_bytes, _read("x.parquet")),
}
