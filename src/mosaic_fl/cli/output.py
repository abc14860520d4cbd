"""`--json` of every command: on stdout there is its result alone, as JSON. What people read there is dropped.

A command prints for people as ever, and calls `results` once it has them. Progress, notes and errors go to stderr.
"""

import io
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

OUTPUTS = ("result.json", "report.html", "global_model.safetensors", "contributions", "pictures", "withdrawals.json")
"""What the folder of a run may have for its user."""

_screen: TextIO | None = None  # stdout, while JSON alone is printed there


class _Nothing(io.TextIOBase):
    """A stream that drops what is written."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def json_alone() -> Iterator[None]:
    """Within the block stdout has the `results` alone."""
    global _screen
    _screen = sys.stdout
    try:
        with redirect_stdout(_Nothing()):
            yield
    finally:
        _screen = None


def results(values: Any, *, line: bool = False) -> None:
    """Print the command's results as JSON, if the user wants that; with `line` on one line, of a command with many.

    Paths become texts. The keys of `values` are stable: docs/json.md has them.
    """
    if _screen is not None:
        text = json.dumps(values, ensure_ascii=False, indent=None if line else 2, default=_plain)
        print(text, file=_screen, flush=True)


def run_results(folder: Path, result: Mapping[str, Any], **more: Any) -> None:
    """The `results` of a command that ends with a run in `folder`, whose `result.json` is `result`."""
    files = [name for name in OUTPUTS if (folder / name).exists()]
    results({"folder": folder, "files": files, "result": result, **more})


def wants_json() -> bool:
    """Whether the user wants JSON."""
    return _screen is not None


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not of JSON")
