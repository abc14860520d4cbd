"""Data sets of several fields: the splits of a simulation, and the rows of one client or of a test."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.config.experiment import MISSING
from mosaic_fl.data.column_split import split_values
from mosaic_fl.data.delimited import CSV_SUFFIXES
from mosaic_fl.data.fields.decoding import having_cells, plain_frame, read_fields
from mosaic_fl.data.fields.draft import draft_fields
from mosaic_fl.data.fields.reading import read_rows, require_columns
from mosaic_fl.data.fields.rows import FieldRows, table_in
from mosaic_fl.data.fields.schema_toml import read_toml_schema
from mosaic_fl.data.names import listing
from mosaic_fl.data.parts import Place
from mosaic_fl.data.table.decimals import decimal_sign
from mosaic_fl.data.table.draft import classes_of, tell, widened
from mosaic_fl.data.validation import TEST_SHARE, held_out
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream


def require_files_of(place: Place | None, config: DataConfig) -> list[Path]:
    """The training files of a place; raises UsageError where that is no place of files with a table each."""
    files = place.training() if place else []
    if not files or any(file.suffix.lower() not in (".parquet", *CSV_SUFFIXES) for file in files):
        columns = listing(config.image_columns)
        raise UsageError(f"{config.name} is no table with the image columns {columns}: give a CSV, TSV or Parquet file")
    return files


def load_field_splits(train: Sequence[Path], test: Sequence[Path], config: DataConfig, stream: Stream) -> Splits:
    """The training and test rows of files with several fields: see `field_splits`."""
    schema = read_toml_schema(Path(config.schema_file)) if config.schema_file else None
    missing = missing_words(schema, config.missing)
    rest = read_rows(test, f"the test part of {config.name}", config, missing) if test else None
    rows = read_rows(train, config.name, config, missing)
    if schema is None:
        require_columns(rows, config.image_columns)
    return field_splits(rows, rest, config, stream, schema)


def missing_words(schema: Schema | None, words: Sequence[str] = MISSING) -> Sequence[str]:
    """The words for a missing value: those of the schema's table, else `words`."""
    named = table_in(schema) if schema else None
    return named[1].missing if named else words


def field_splits(
    rows: FieldRows, rest: FieldRows | None, config: DataConfig, stream: Stream, schema: Schema | None = None
) -> Splits:
    """The training rows and the test rows of `rest`, else a fifth of each class, which `stream` draws.

    Without a `schema` it is drafted from the training rows alone: see `draft_fields`. Raises UsageError for
    rows that cannot be read.
    """
    named = table_in(schema) if schema else None
    missing = missing_words(schema, config.missing)
    label = rows.label_column(config.label_column or (named[1].label if named else ""))
    if rest is None:
        labels, names = classes_of(rows.frame, label, missing)
        chosen = held_out(labels, len(names), TEST_SHARE, stream)
        if not chosen.any():
            raise UsageError(f"{rows.source} has too few samples ({len(rows)}) to set a fifth aside for testing")
        rows, rest = rows.at(~chosen), rows.at(chosen)
    column = None
    if config.split_column:
        if config.split_column in rows.pictures:
            raise UsageError(f"the column {config.split_column!r} has pictures: name one of values to divide by")
        frame = plain_frame(rows)
        decimal = named[1].decimal if named else decimal_sign(frame, set(frame.columns) - {label}, missing)
        column = split_values(frame, config.split_column, label, missing, decimal)
    decoded = None
    if schema is None:
        ignore = dict.fromkeys(config.ignore, "data.ignore names it")
        if column is not None and column.dtype == object:
            ignore.setdefault(config.split_column, "it names the clients")
        drafted = draft_fields(
            rows, label, config, ignore=ignore, least=config.least_rows, missing=config.missing, all_classes=True
        )
        tell(drafted.draft, rows.source)
        decoded = drafted.decoded
        schema = _widened(drafted.draft.schema, rest)
        rows = rows.without(drafted.draft.left_out)
        rest = rest.without(drafted.draft.left_out)
    elif config.ignore:
        note(f"{config.schema_file} says which columns are features: data.ignore has no use")
    labelled = config.model_copy(update={"label_column": label})
    kept, training = read_fields(rows, schema, labelled, decoded)
    testing = read_fields(rest, schema, labelled)[1]
    return Splits(config.name, training, testing, None if column is None else column[kept])


def _widened(schema: Schema, rest: FieldRows) -> Schema:
    """The schema with missing values in its table where test rows that have the table lack some."""
    named = table_in(schema)
    if named is None:
        return schema
    name, table = named
    has = having_cells(rest.cells, [column.name for column in table.columns], table.missing, len(rest))
    if not has.any():
        return schema
    return replace(schema, fields={**schema.fields, name: widened(table, plain_frame(rest).at(has))})


def load_field_rows(files: Sequence[Path], source: str, reading: ReadingConfig, schema: Schema | None) -> Dataset:
    """The labelled rows of one client's files as samples of `schema`; raises UsageError without one."""
    if schema is None:
        raise UsageError(
            f"{source} has several fields: all sites need one schema of them; mosaic schema {source} drafts it, then "
            "say --schema FILE"
        )
    if strange := [file for file in files if file.suffix.lower() not in (".parquet", *CSV_SUFFIXES)]:
        raise UsageError(f"{strange[0]} is no table, and the schema says {schema.summary}: give a CSV or Parquet file")
    return read_fields(read_rows(files, source, reading, missing_words(schema)), schema, reading)[1]
