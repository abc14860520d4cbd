"""Data sets that are tables: the splits of a simulation, the rows of one client, and those of a test."""

from collections.abc import Sequence
from pathlib import Path

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.column_split import split_values
from mosaic_fl.data.delimited import CSV_SUFFIXES
from mosaic_fl.data.fields.schema_toml import read_toml_schema
from mosaic_fl.data.names import listing
from mosaic_fl.data.table.decimals import decimal_sign
from mosaic_fl.data.table.differences import FEWEST
from mosaic_fl.data.table.draft import classes_of, draft, tell, widened
from mosaic_fl.data.table.frame import Frame
from mosaic_fl.data.table.reading import is_table, read_frames
from mosaic_fl.data.table.rows import read_rows, table_of
from mosaic_fl.data.validation import TEST_SHARE, held_out
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream

PICTURES = ("image_column", "image_size", "channels", "fit", "pixel_range", "skip_broken")
"""Settings of a `ReadingConfig` that say how images are read."""


def are_tables(files: Sequence[Path], reading: ReadingConfig, schema: Schema | None = None) -> bool:
    """Whether these files are tables: a schema of the kind `table` says so, or a named label column without images."""
    if schema is not None:
        return is_tabular(schema)
    tabular = all(file.suffix.lower() in (".parquet", *CSV_SUFFIXES) for file in files)
    return tabular and _is_named(reading) and is_table(files[0], reading)


def _is_named(reading: ReadingConfig) -> bool:
    """Whether the user names what tables have: a column of labels, or a schema."""
    return bool(reading.label_column or (isinstance(reading, DataConfig) and reading.schema_file))


def is_tabular(schema: Schema) -> bool:
    """Whether samples of a schema are rows of a table."""
    return [kind.name for kind in schema.fields.values()] == ["table"]


def load_splits(train: Sequence[Path], test: Sequence[Path], config: DataConfig, stream: Stream) -> Splits:
    """The training and test rows of files with tables: see `splits_of`."""
    rest = read_frames(test, f"the test part of {config.name}") if test else None
    return splits_of(read_frames(train, config.name), rest, config, stream)


def splits_of(frame: Frame, rest: Frame | None, config: DataConfig, stream: Stream) -> Splits:
    """The training rows of `frame` and the test rows of `rest`, else a fifth of each class, which `stream` draws.

    Without a schema in a file it is drafted from the training rows alone: see `draft`. A column of texts that divides
    the clients is no feature then. Raises UsageError for rows that cannot be read.
    """
    tell_idle(config, config.name)
    schema = read_toml_schema(Path(config.schema_file)) if config.schema_file else None
    missing = table_of(schema).missing if schema else config.missing
    label = frame.label_column(config.label_column or (table_of(schema).label if schema else ""))
    if rest is None:
        labels, names = classes_of(frame, label, missing)
        chosen = held_out(labels, len(names), TEST_SHARE, stream)
        if not chosen.any():
            raise UsageError(f"{frame.source} has too few samples ({len(frame)}) to set a fifth aside for testing")
        frame, rest = frame.at(~chosen), frame.at(chosen)
    decimal = table_of(schema).decimal if schema else decimal_sign(frame, set(frame.columns) - {label}, missing)
    column = split_values(frame, config.split_column, label, missing, decimal)
    if schema is None:
        ignore = dict.fromkeys(config.ignore, "data.ignore names it")
        if column is not None and column.dtype == object:
            ignore.setdefault(config.split_column, "it names the clients")
        drafted = draft(
            frame,
            label,
            ignore=ignore,
            least=config.least_rows,
            missing=config.missing,
            all_classes=True,
        )
        tell(drafted, frame.source)
        schema = Schema({Table.name: widened(table_of(drafted.schema), rest)}, drafted.schema.classes)
        frame, rest = (part.without(drafted.left_out) for part in (frame, rest))
    elif config.ignore:
        note(f"{config.schema_file} says which columns are features: data.ignore has no use")
    kept, rows = read_rows(frame, schema, config, drafted=not config.schema_file)
    return Splits(config.name, rows, read_rows(rest, schema, config)[1], None if column is None else column[kept])


def load_rows(files: Sequence[Path], source: str, reading: ReadingConfig, schema: Schema | None) -> Dataset:
    """The labelled rows of one client's files as samples of `schema`; raises UsageError without one."""
    if schema is None:
        raise UsageError(
            f"{source} is a table: all sites need one schema of its columns; mosaic schema {source} drafts it, then "
            "say --schema FILE"
        )
    tell_idle(reading, source)
    if strange := [file for file in files if file.suffix.lower() not in (".parquet", *CSV_SUFFIXES)]:
        raise UsageError(f"{strange[0]} is no table, and the schema says {schema.summary}: give a CSV or Parquet file")
    return read_rows(read_frames(files, source), schema, reading)[1]


def require_more(data: Dataset, source: str) -> Dataset:
    """The rows that a client learns from; raises UsageError for a single one, of which its model would be a copy."""
    if len(data) < FEWEST:
        raise UsageError(f"{source} has {len(data)} row{'s' * (len(data) != 1)} to learn from: a client needs {FEWEST}")
    return data


def tell_idle(reading: ReadingConfig, source: str) -> None:
    """Note settings that say how images are read: in a table they have no effect."""
    if idle := [name for name in PICTURES if getattr(reading, name) != ReadingConfig.model_fields[name].default]:
        note(f"{source} is a table: it has no use for {listing([f'data.{name}' for name in idle])}")
