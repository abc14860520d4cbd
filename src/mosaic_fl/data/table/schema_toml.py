"""The schema of tables as a TOML file that people read, edit and send to all sites."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mosaic_fl.config.toml import read_toml
from mosaic_fl.data.table.rows import table_of
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.domains.table.kind import POINT
from mosaic_fl.errors import UsageError, excerpt

LABEL = ("column", "classes")
HEAD = """\
# The schema of a federation on tables: all sites have the same file. mosaic schema DATA --check FILE compares data.
kind = "table"
# Words that stand for a missing value, in any case; an empty cell is one always.
missing = {missing}
{decimal}
[label]
column = {label}
classes = {classes}

# A column is numeric, whole, boolean or category. low and high are the range that is told apart, in the units of the
# data; knots are quantiles of the values, rounded. A column that some rows or sites lack has missing = true.
"""
DECIMAL = """\
# The sign before the decimals of numbers in files; a column without it may have points.
decimal = {decimal}
"""


def schema_toml(schema: Schema, left_out: Sequence[str] = ()) -> str:
    """The file's text, which names the columns that are `left_out`; `schema_of_toml` is the inverse.

    It has no figure of a site but the range and the quantiles of columns.
    """
    table = table_of(schema)
    sign = "" if table.decimal == POINT else DECIMAL.format(decimal=_text(table.decimal))
    parts = [
        HEAD.format(missing=_list(table.missing), label=_text(table.label), classes=_list(schema.classes), decimal=sign)
    ]
    parts += map(_column, table.columns)
    if left_out:
        parts.append(f"# Left out by the draft, as no features: {_list(left_out)}\n")
    return "\n".join(parts)


def _column(column: Column) -> str:
    lines = ["[[column]]", f"name = {_text(column.name)}", f"type = {_text(column.type)}"]
    if column.categories:
        lines.append(f"categories = {_list(column.categories)}")
    if column.knots:
        lines += [f"low = {_number(column.low)}", f"high = {_number(column.high)}"]
        lines.append(f"knots = [{', '.join(map(_number, column.knots))}]")
    if column.missing:
        lines.append("missing = true")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """A TOML string: one of JSON is one, since names have no control characters."""
    return json.dumps(text, ensure_ascii=False)


def _list(words: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, words))}]"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def read_table_schema(file: Path) -> Schema:
    """The schema of tables in a TOML file; raises UsageError, with its name, for anything else."""
    try:
        return schema_of_toml(read_toml(file))
    except UsageError as error:
        raise UsageError(str(error) if str(file) in str(error) else f"{file}: {error}") from error


def schema_of_toml(content: dict[str, Any]) -> Schema:
    """The schema in the values of such a file; raises UsageError for anything else."""
    match content:
        case {"kind": "table", "label": dict(label), "column": list(columns), **rest}:
            if other := [key for key in rest if key not in ("missing", "decimal")] + [
                key for key in label if key not in LABEL
            ]:
                raise UsageError(f"it has {excerpt(other[0], 40)}, which a schema of tables does not have")
            names = label.get("classes")
            if isinstance(names, list) and "column" in label:
                table = {"columns": list(map(_with_range, columns)), "label": label["column"], **rest}
                return Schema({Table.name: Table.from_json({"kind": "table", **table})}, tuple(map(_class, names)))
    raise UsageError(
        'it is no schema of tables: that has kind = "table", a [label] with its column and classes, and [[column]]s'
    )


def _class(value: object) -> str:
    """The name of a class: 1 and true are classes called so."""
    return json.dumps(value) if type(value) in (int, bool) else value  # type: ignore[return-value]


def _with_range(column: object) -> object:
    """A column of numbers without low, high or knots gets them from the others."""
    if not isinstance(column, dict) or column.get("type") not in ("numeric", "whole"):
        return column
    ends = [column[end] for end in ("low", "high") if end in column]
    knots = column.get("knots", ends if len(ends) == 2 else None)
    if not isinstance(knots, list) or not knots:
        return column
    return {"low": knots[0], "high": knots[-1], **column, "knots": knots}
