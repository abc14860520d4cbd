"""A configuration as a TOML file, in which a comment explains each setting."""

import codecs
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item

from mosaic_fl.config import Config, validate
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_bytes

COMMENT_COLUMN = 34  # where comments start, so that they stand below one another
MAX_TOML = 4 * 2**20  # bytes: ten thousand class names of 200 letters are 2 MB
MAX_DOTS = 32  # parts of a dotted key: the reader's time grows with their square, and a setting has two
_MARKS = (  # byte-order marks; the mark of UTF-32 begins with that of UTF-16, so it comes first
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_STRING = re.compile(r"""\"(?:[^"\\\n]|\\[^\n])*+"?|'[^'\n]*+'?|#[^\n]*+""")  # or a comment, on one line
_DEEP_KEY = re.compile(rf"(?:(?<![\w-])[\w-]++[ \t]*+\.[ \t]*+){{{MAX_DOTS}}}")


def to_toml(config: Config) -> str:
    """All settings with their values, each with its meaning as a comment; `from_toml` is the inverse."""
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
    """The configuration in a file. Missing settings come from `below` ({"section.key": value}), or are defaults.

    Raises UsageError that names the file where it cannot be read, is not TOML, or a setting is wrong.
    """
    values = read_toml(path)
    for name, value in (below or {}).items():
        section, _, key = name.partition(".")
        if isinstance(values.setdefault(section, {}), dict):
            values[section].setdefault(key, value)
    return validate(values, str(path))


def read_toml(path: Path) -> dict[str, Any]:
    """The nested values of a TOML file; raises UsageError that names it.

    A byte-order mark says how to read the file and is no part of the text. Editors of Windows write that of UTF-16.
    """
    text = _text(read_bytes(path, MAX_TOML), path)
    if _DEEP_KEY.search(_STRING.sub("text", text)):
        raise UsageError(f"{path} is not TOML that is read here: a key has more than {MAX_DOTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise UsageError(f"{path} is not TOML that is read here: it is nested too deeply") from error
    except (ValueError, OverflowError) as error:  # a number of thousands of digits raises another error than TOML's
        raise UsageError(f"{path} is not TOML: {error}") from error


def _text(content: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:4]:
        raise UsageError(f"{path} is not text in UTF-8, but perhaps in UTF-16: save it as UTF-8")
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start} is not {encoding.upper()}: save it as UTF-8"
        raise UsageError(f"{path} is not TOML: {wrong}") from error
