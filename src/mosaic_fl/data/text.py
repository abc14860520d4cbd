"""Text files of users: UTF-8 with or without a byte-order mark, or UTF-16."""

import codecs
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_bytes


def read_text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes, without its byte-order mark.

    Raises UsageError for one that cannot be read, is larger, or is neither UTF-8 nor UTF-16.
    """
    content = read_bytes(path, most)
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is neither UTF-8 nor UTF-16: save it as UTF-8 (in Excel: CSV UTF-8)") from error


def _encoding(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # Without a mark, every other byte of Latin text is zero, and no text in UTF-8 has a zero byte.
    if content[1:2] == b"\0":
        return "utf-16-le"
    return "utf-16-be" if content[:1] == b"\0" else "utf-8-sig"
