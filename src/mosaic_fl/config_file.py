"""A configuration as a TOML file in which every setting says what it means."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item

from mosaic_fl.config import Config, validate
from mosaic_fl.errors import UsageError

COMMENT_COLUMN = 34  # where comments start, so that they stand below one another


def to_toml(config: Config) -> str:
    """All settings with their values, each with its meaning as a comment; `from_toml` gives back an equal `Config`."""
    document = tomlkit.document()
    for name, section in config:
        table = tomlkit.table()
        table.comment((type(section).__doc__ or "").strip().splitlines()[0])
        for key, value in section:
            item = _item(value)
            field = type(section).model_fields[key]
            meaning = field.description
            if meaning:
                default = "" if value == field.default else f" (default: {_item(field.default).as_string()})"
                item.comment(meaning + default)
                item.trivia.indent = ""
                item.trivia.comment_ws = " " * max(2, COMMENT_COLUMN - len(f"{key} = {item.as_string()}"))
            table.add(key, item)
        document.add(name, table)
    return tomlkit.dumps(document)


def _item(value: Any) -> Item:
    """A value as TOML writes it."""
    item: Item = tomlkit.item(list(value) if isinstance(value, tuple) else value)
    return item


def from_toml(path: Path, below: Mapping[str, Any] | None = None) -> Config:
    """The configuration in a file; settings it leaves out are those of `below` ({"section.key": value}), or defaults.

    Raises UsageError that names the file where it cannot be read, is not TOML, or a setting is wrong.
    """
    values = read_toml(path)
    for name, value in (below or {}).items():
        section, _, key = name.partition(".")
        if isinstance(values.setdefault(section, {}), dict):
            values[section].setdefault(key, value)
    return validate(values, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The nested values of a TOML file; raises UsageError that names it."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error
