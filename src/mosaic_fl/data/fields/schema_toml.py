"""The schema of tables, or of several fields, as a TOML file that people read, edit and send to all sites."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mosaic_fl.config.experiment import MISSING
from mosaic_fl.config.toml import read_toml
from mosaic_fl.data.fields.rows import images_in, table_in
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.schema import MAX_NAME, Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.domains.table.kind import POINT
from mosaic_fl.errors import UsageError, excerpt

LABEL = ("column", "classes")
SIDES = ("channels", "height", "width")
FEWEST = 2  # fields of a schema of several
HEAD = """\
# The schema of a federation on {what}: all sites have the same file. mosaic schema DATA --check FILE compares data.
kind = {kind}
# Words that stand for a missing value, in any case; an empty cell is one always.
missing = {missing}
{decimal}
[label]
column = {label}
classes = {classes}
"""
IMAGES = """
# A field of images is a column of pictures, which are brought to this form: channels are 1 (grey) or 3. Rows or whole
# sites may lack any field.
"""
COLUMNS = """
# A column is numeric, whole, boolean or category. low and high are the range that is told apart, in the units of the
# data; knots are quantiles of the values, rounded. A column that some rows or sites lack has missing = true.
"""
DECIMAL = """\
# The sign before the decimals of numbers in files; a column without it may have points.
decimal = {decimal}
"""
FIELDS = "fields"  # the kind of a schema of several fields: images, and a field `table` where there are columns


def schema_toml(schema: Schema, left_out: Sequence[str] = (), label: str = "") -> str:
    """The file's text, which names the columns that are `left_out`; `schema_of_toml` is the inverse.

    `label` is the column of labels where the schema has no table, which names it. The text has no figure of a site but
    the range and the quantiles of columns.
    """
    named = table_in(schema)
    table = named[1] if named else None
    several = len(schema.fields) > 1
    sign = "" if table is None or table.decimal == POINT else DECIMAL.format(decimal=_text(table.decimal))
    head = HEAD.format(
        decimal=sign,
        what="several fields" if several else "tables",
        kind=_text(FIELDS if several else Table.name),
        missing=_list(table.missing if table else MISSING),
        label=_text(table.label if table else label),
        classes=_list(schema.classes),
    )
    parts = [head]
    if several:
        parts += [IMAGES, "\n".join("\n".join(_image(name, kind)) for name, kind in images_in(schema).items())]
    if table:
        parts += [COLUMNS, "\n".join(map(_column, table.columns))]
    if left_out:
        parts.append(f"\n# Left out by the draft, as no features: {_list(left_out)}\n")
    return "".join(parts)


def _image(name: str, kind: Image) -> list[str]:
    sides = dict(zip(SIDES, kind.shape, strict=True))
    form = [f"{side} = {length}" for side, length in sides.items()]
    return ["[[image]]", f"name = {_text(name)}", *form, f"fit = {_text(kind.fit)}", ""]


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


def read_toml_schema(file: Path) -> Schema:
    """The schema in a TOML file, of tables or of fields; raises UsageError, with its name, for anything else."""
    try:
        return schema_of_toml(read_toml(file))
    except UsageError as error:
        raise UsageError(str(error) if str(file) in str(error) else f"{file}: {error}") from error


def read_label_column(file: Path) -> str:
    """The column of labels that the schema in a TOML file names, "" for none; raises UsageError for no TOML file."""
    match read_toml(file):
        case {"label": {"column": str(name)}}:
            return name
    return ""


def schema_of_toml(content: dict[str, Any]) -> Schema:
    """The schema in the values of such a file; raises UsageError for anything else."""
    match content:
        case {"kind": "table" | "fields" as kind, "label": {"column": _, "classes": list(names)}}:
            lists = [content[key] for key in ("image", "column") if key in content]
            allowed = ("kind", "label", "missing", "decimal", "column", *(["image"] if kind == FIELDS else []))
            other = [key for key in content if key not in allowed]
            other += [key for key in content["label"] if key not in LABEL]
            if other:
                of = "fields" if kind == FIELDS else "tables"
                raise UsageError(f"it has {excerpt(other[0], 40)}, which a schema of {of} does not have")
            if all(isinstance(value, list) for value in lists) and ("column" in content or kind == FIELDS):
                return Schema(_fields(content), tuple(map(_class, names)))
    raise UsageError(
        'it is no schema of tables or fields: that has kind = "table" or "fields", a [label] with its column and '
        "classes, [[column]]s, and of fields [[image]]s"
    )


def _fields(content: Mapping[str, Any]) -> dict[str, Kind]:
    """The fields by name, in the order of the file; raises UsageError for one that is none, and for two of one name."""
    fields: dict[str, Kind] = {}
    for value in content.get("image", []):
        name, image = _image_of(value)
        if name in fields:
            raise UsageError(f"image {name!r} is there twice: each field has a name of its own")
        fields[name] = image
    if "column" in content:
        if Table.name in fields:
            raise UsageError(f"image {Table.name!r} has the name of the field of all [[column]]s: name it anew")
        rest = {key: content[key] for key in ("missing", "decimal") if key in content}
        columns = list(map(_with_range, content["column"]))
        table = {"kind": "table", "columns": columns, "label": content["label"]["column"], **rest}
        fields[Table.name] = Table.from_json(table)
    if content["kind"] == FIELDS and len(fields) < FEWEST:
        raise UsageError(f"it has {len(fields)} fields: a schema of several has [[image]]s, and may have [[column]]s")
    return fields


def _image_of(value: object) -> tuple[str, Image]:
    """(the name, the kind) of an [[image]]."""
    match value:
        case {"name": str(name), "channels": int(channels), "height": int(height), "width": int(width), **rest}:
            if other := [key for key in rest if key != "fit"]:
                word = excerpt(other[0], 40)
                raise UsageError(f"image {name[:MAX_NAME]!r} has {word}: it can have {', '.join(SIDES)} and fit")
            form = {"kind": "image", "shape": [channels, height, width], "range": [0, 255], **rest}
            return name, Image.from_json(form)
    raise UsageError(f"{excerpt(value, 60)} is no [[image]]: that has a name and the whole numbers {', '.join(SIDES)}")


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
