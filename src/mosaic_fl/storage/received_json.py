"""JSON from anywhere: values whose every text can be hashed, written and shown."""

import json
import re
from typing import Any

_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a character beyond the first 65,536, or of none


def loads(text: str) -> Any:
    """The value that `text` stands for.

    Raises ValueError for what is not JSON, is nested too deeply, or holds half a character, which JSON can write and
    no file or hash can take.
    """
    try:
        value = json.loads(text)
        if _ESCAPED_HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value
