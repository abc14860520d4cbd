"""The readers of several fields: their schema as TOML and JSON, and rows with pictures in CSV and Parquet files."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_mutation import mutate_bytes, mutate_text
from fuzz_reader import Reader, read_any, written
from PIL import Image as Pictures

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.differences import field_differences
from mosaic_fl.data.fields.draft import draft_fields
from mosaic_fl.data.fields.reading import read_file, read_rows
from mosaic_fl.data.fields.schema_toml import schema_toml
from mosaic_fl.data.schema_file import read_schema
from mosaic_fl.data.sources import load_test
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table

AGE = Column("age", "whole", low=0, high=100, knots=(0, 50, 100))
SCHEMA = Schema({"xray": Image((1, 4, 4)), "photo": Image((3, 4, 4)), "table": Table((AGE,), "outcome")}, ("no", "yes"))
COLUMNS = ("xray", "photo")
READING = ReadingConfig(image_columns=COLUMNS, label_column="outcome")
ROWS = 12


def _png(value: int, channels: int) -> bytes:
    shape = (4, 4) if channels == 1 else (4, 4, channels)
    file = io.BytesIO()
    Pictures.fromarray(np.full(shape, value, np.uint8)).save(file, format="PNG")
    return file.getvalue()


def _schemas(_folder: Path) -> list[bytes]:
    return [schema_toml(SCHEMA, ["id"]).encode()]


def _read_toml(data: bytes, folder: Path) -> object:
    return read_schema(written(folder / "x.toml", data))


def _jsons(_folder: Path) -> list[bytes]:
    return [json.dumps(SCHEMA.to_json()).encode()]


def _read_json(data: bytes, folder: Path) -> object:
    return read_schema(written(folder / "x.json", data))


def _csvs(_folder: Path) -> list[bytes]:
    lines = [f"{'x.png' if i % 3 else ''},,{i},{'no' if i % 2 else 'yes'}" for i in range(ROWS)]
    return ["\n".join(["xray,photo,age,outcome", *lines]).encode()]


def _parquets(_folder: Path) -> list[bytes]:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    xrays = [{"bytes": _png(i, 1), "path": None} if i % 3 else None for i in range(ROWS)]
    outcomes = ["no" if i % 2 else "yes" for i in range(ROWS)]
    plain = {"age": list(range(ROWS)), "outcome": outcomes, "photo": pa.array([_png(i, 3) for i in range(ROWS)])}
    file = io.BytesIO()
    pq.write_table(pa.table({"xray": pa.array(xrays, kind), **plain}), file)
    return [file.getvalue()]


def _read_csv(data: bytes, folder: Path) -> None:
    written(folder / "x.png", _png(9, 1))
    _read(written(folder / "x.csv", data))


def _read_parquet(data: bytes, folder: Path) -> None:
    _read(written(folder / "x.parquet", data))


def _read(path: Path) -> None:
    """By a schema, for a schema, and against one."""
    missing = ("NA",)
    read_any(
        lambda: load_test(path, SCHEMA, READING),
        lambda: draft_fields(
            read_rows([path], str(path), READING), "outcome", READING, ignore={}, least=2, missing=missing
        ),
        lambda: field_differences(read_file(path, COLUMNS), SCHEMA, READING),
    )


FIELDS = {
    "field-schema": Reader(_schemas, mutate_text, _read_toml),
    "field-json": Reader(_jsons, mutate_text, _read_json),
    "field-csv": Reader(_csvs, mutate_text, _read_csv),
    "field-parquet": Reader(_parquets, mutate_bytes, _read_parquet),
}
