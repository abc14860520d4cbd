"""The readers of tables: their schemas as TOML and JSON, and rows in CSV and Parquet files."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_mutation import mutate_bytes, mutate_text
from fuzz_reader import Reader, read_any, written
from fuzz_sealed import mutate_file

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.fields.schema_toml import schema_toml
from mosaic_fl.data.schema_file import read_schema
from mosaic_fl.data.sources import load_test
from mosaic_fl.data.table.differences import differences
from mosaic_fl.data.table.draft import draft
from mosaic_fl.data.table.merging import merge
from mosaic_fl.data.table.reading import read_frame
from mosaic_fl.data.table.site_statistics import Statistics
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.table_statistics import statistics

AGE = Column("age", "whole", low=0, high=100, knots=(0, 50, 100))
DOSE = Column("dose", "numeric", low=0.5, high=2.5, knots=(0.5, 1, 2.5), missing=True)
STAGE = Column("stage", "category", categories=("I", "II", "ü, 3"), missing=True)
TABLE_SCHEMA = Schema(
    {"table": Table((AGE, DOSE, Column("smoker", "boolean"), STAGE), "outcome", ("?", "unknown"))}, ("no", "yes")
)
ROWS = [("31", "0.5", "yes", "I", "no"), ("54", "?", "no", "", "yes"), ("47", "2.25", "no", "ü, 3", "no")] * 5
NAMES = ("age", "dose", "smoker", "stage", "outcome")


def _tomls(_folder: Path) -> list[bytes]:
    return [schema_toml(TABLE_SCHEMA, ["id"]).encode()]


def _read_toml(data: bytes, folder: Path) -> object:
    return read_schema(written(folder / "x.toml", data))


def _csvs(_folder: Path) -> list[bytes]:
    lines = [",".join(f'"{cell}"' if "," in cell else cell for cell in row) for row in (NAMES, *ROWS)]
    return ["\n".join(lines).encode(), "\r\n".join(lines).encode("utf-16")]


def _parquets(_folder: Path) -> list[bytes]:
    columns = {name: [row[place] or None for row in ROWS] for place, name in enumerate(NAMES)}
    typed = {**columns, "age": list(map(int, columns["age"])), "smoker": [word == "yes" for word in columns["smoker"]]}
    files = []
    for table in (
        pa.table(columns),
        pa.table(typed),
        pa.table({**typed, "stage": pa.array(columns["stage"]).dictionary_encode()}),
    ):
        file = io.BytesIO()
        pq.write_table(table, file)
        files.append(file.getvalue())
    return files


def _read_csv(data: bytes, folder: Path) -> None:
    _read_rows(written(folder / "x.csv", data))


def _read_parquet(data: bytes, folder: Path) -> None:
    _read_rows(written(folder / "x.parquet", data))


def _read_rows(path: Path) -> None:
    """By a schema, for a schema, and against one."""
    read_any(
        lambda: load_test(path, TABLE_SCHEMA),
        lambda: draft(read_frame(path), "outcome", ignore={}, least=2),
        lambda: differences(read_frame(path), TABLE_SCHEMA, ReadingConfig()),
    )


def _statistics(_folder: Path) -> list[bytes]:
    columns = {name: [row[place] for row in ROWS] for place, name in enumerate(NAMES)}
    return [
        statistics(columns, "outcome", client=client, least_rows=2, public={"age": (0, 120)}).to_bytes()
        for client in range(2)
    ]


def _read_statistics(data: bytes, folder: Path) -> None:
    """Alone and with the statistics of another site."""
    received = Statistics.from_bytes(data, "x")
    other = Statistics.from_bytes(_statistics(folder)[1], "y")
    read_any(lambda: merge([received]), lambda: merge([received, other]), lambda: received.lines(9))


TABLES = {
    "table-statistics": Reader(_statistics, mutate_file, _read_statistics),
    "table-schema": Reader(_tomls, mutate_text, _read_toml),
    "table-csv": Reader(_csvs, mutate_text, _read_csv),
    "table-parquet": Reader(_parquets, mutate_bytes, _read_parquet),
}
