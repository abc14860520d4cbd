"""Reads JSON from others. Every text in the values can be hashed, written to a file and printed."""

import json
import re
from typing import Any

_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # half of a surrogate pair, perhaps without the other half


def loads(text: str) -> Any:
    """The value of the JSON `text`.

    Raises ValueError where it is not JSON, is nested too deeply, or holds half a character: JSON can write that, but it
    has no UTF-8 bytes.
    """
    try:
        value = json.loads(text)
        if _ESCAPED_HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value
