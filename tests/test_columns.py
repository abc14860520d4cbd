"""Columns of numbers from Parquet files, and what reading them does not load."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mosaic_fl.data.columns import numbers
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint8(), pa.float32(), pa.float64()])
def test_numbers_are_those_of_all_chunks_in_their_own_type(kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array([1, 2], kind), pa.array([], kind), pa.array([3], kind)])
    array = numbers(column.slice(1))
    assert array.tolist() == [2, 3]
    assert array.dtype == kind.to_pandas_dtype()
    array[0] = 7  # it is a new one
    assert column.to_pylist() == [1, 2, 3]


def test_missing_numbers_are_nan_and_no_rows_are_no_numbers() -> None:
    assert np.isnan(numbers(pa.chunked_array([pa.array([0.5, None])]))).tolist() == [False, True]
    assert numbers(pa.chunked_array([], pa.int64())).shape == (0,)


def test_reading_pictures_loads_no_pandas(digits: Dataset, tmp_path: Path) -> None:
    """It may be installed, takes a while to load, and is not needed."""
    save_parquet(digits.subset(range(200)), tmp_path / "x.parquet")
    code = (
        "import sys\nfrom mosaic_fl.config import Config\nfrom mosaic_fl.encoders.reading import load\n"
        "config = Config().with_values({'data.name': sys.argv[1]})\n"
        "print(load(config).train.labels.tolist(), 'pandas' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.parquet")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.endswith("] False\n")
