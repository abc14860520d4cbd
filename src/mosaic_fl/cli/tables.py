"""The options of commands that read a simulation's data, for tables and for samples with several fields."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic_fl.cli.options import words
from mosaic_fl.data.places import existing
from mosaic_fl.errors import UsageError

SplitColumn = Annotated[str | None, typer.Option(metavar="NAME", help="column of a table that divides the clients")]
TableSchema = Annotated[
    Path | None, typer.Option("--schema", metavar="FILE", help="of a table: see mosaic schema [drafted]")
]
Ignore = Annotated[str | None, typer.Option(metavar="NAME,…", help="columns of a table to leave out")]
ClientFields = Annotated[str | None, typer.Option(metavar="A+B,A,…", help="fields that clients have, in turn [all]")]
WithTable = Annotated[bool, typer.Option("--with-table", help="columns beside --image-column are a field, too")]


def field_options(reading: dict[str, Any], with_table: bool, clients: str | None = None) -> dict[str, Any]:
    """The settings of these options; raises UsageError for --with-table without --image-column."""
    columns = reading["data.image_columns"]
    if with_table and columns is None:
        if not reading["data.image_column"]:
            raise UsageError("--with-table goes with --image-column: a table alone needs none of them")
        columns = [reading["data.image_column"]]
    fields = None if clients is None else words("client-fields", clients)
    single = {"data.image_column": None} if columns else {}
    return {"data.image_columns": columns, "partition.fields": fields, **single}


def table_options(split_column: str | None, schema: Path | None, ignore: str | None) -> dict[str, Any]:
    """The settings of these options; None for one that is absent. Raises UsageError where there is no such file."""
    return {
        "data.split_column": split_column,
        "data.schema_file": None if schema is None else str(existing(schema)),
        "data.ignore": None if ignore is None else words("ignore", ignore),
    }


def by_column(split: str | None, column: str | None) -> str | None:
    """The value of --split where a column divides the clients; raises UsageError where both are given."""
    if column is None:
        return split
    if split not in (None, "by_column"):
        raise UsageError(f"--split {split} and --split-column {column}: give one of them")
    return "by_column"
