"""Reads the folder of a run for its page: the result, and the files beside it."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.report.page.facts import Facts
from mosaic_fl.runs.folder import read_marker
from mosaic_fl.runs.result import GENERATED, read_notes, read_result
from mosaic_fl.runs.sources import FILE as SOURCES
from mosaic_fl.runs.sources import read_sources
from mosaic_fl.storage.files import read_if_there

PICTURES = {"samples.png": "What the generators draw"}
MOST_PICTURE = 2**19  # bytes of a picture that is shown
MOST_NOTES = 100
MODEL = "global_model.safetensors"


def read_facts(folder: Path) -> Facts:
    """The facts of the run in `folder`; raises UsageError where no run has ended there."""
    result = read_result(folder)
    if result is None or "seconds" not in result:
        raise UsageError(f"{folder} has no result.json: name the folder of a run that has ended, its --out")
    configuration = read_if_there(folder / "config.toml") or b""
    generated = _generated(folder)
    marker = read_marker(folder) or {}
    return Facts(
        folder.name,
        result,
        configuration.decode("utf-8", "replace"),
        {} if generated else _pictures(folder),
        dict(_hashes(folder, result, marker)),
        generated,
        _sources(folder),
        str(marker.get("command", "run")),
        read_notes(folder)[:MOST_NOTES],
    )


def _hashes(folder: Path, result: Mapping[str, Any], marker: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Versions and hashes, by what they are of; a run of an earlier version told its own version alone."""
    versions = result.get("versions") or {"mosaic-fl": marker.get("mosaic_fl", "unknown")}
    yield from ((str(name), str(value)) for name, value in versions.items())
    if marker.get("inputs"):
        yield "data or contributions (SHA-256)", str(marker["inputs"])
    if (configuration := read_if_there(folder / "config.toml")) is not None:
        yield "config.toml (SHA-256)", hashlib.sha256(configuration).hexdigest()
    if (model := read_if_there(folder / MODEL)) is not None:
        yield f"{MODEL} (SHA-256)", hashlib.sha256(model).hexdigest()


def _sources(folder: Path) -> dict[int, tuple[str, str]]:
    """The contribution files by client, each its name and hash; empty where there are none, or nobody knows them."""
    if not (folder / SOURCES).is_file():
        return {}
    try:
        return {k: (one.path.name, one.digest) for k, one in read_sources(folder).contributions.items()}
    except UsageError:
        return {}


def _generated(folder: Path) -> dict[str, Any]:
    """The content of `pictures/generated.json` with its pictures as data URIs; empty where it is none of ours."""
    content = read_if_there(folder / GENERATED)
    if content is None:
        return {}
    try:
        told = json.loads(content)
        clients = [_shown(row) for row in told["clients"]]
        return {"clients": clients, "more": int(told["more"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"client": int(row["client"])}
    if "picture" in row:
        picture = base64.b64decode(row["picture"], validate=True)
        width, height = _png_size(picture)
        uri = "data:image/png;base64," + base64.b64encode(picture).decode()
        return shown | {"picture": uri, "width": width, "height": height, "classes": list(map(str, row["classes"]))}
    if "rows" in row:
        rows = [list(map(str, values)) for values in row["rows"]]
        return shown | {"columns": list(map(str, row["columns"])), "rows": rows}
    return shown | {"reason": str(row["reason"])}


def _png_size(content: bytes) -> tuple[int, int]:
    """(width, height) of a PNG, by its header; raises ValueError where it is none."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        raise binascii.Error("no PNG")
    return int.from_bytes(content[16:20]), int.from_bytes(content[20:24])


def _pictures(folder: Path) -> dict[str, str]:
    """Pictures as data URIs, by what they show."""
    result = {}
    for name, words in PICTURES.items():
        content = read_if_there(folder / "pictures" / name)
        if content is not None and len(content) <= MOST_PICTURE:
            result[words] = "data:image/png;base64," + base64.b64encode(content).decode()
    return result
