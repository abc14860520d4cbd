"""`sources.json`: which contribution files a distillation was made from, so that one of them can be withdrawn."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import open_file, read_if_there, write_atomic

FILE = "sources.json"
PART = 2**20  # bytes of a file in memory at once


@dataclass(frozen=True)
class Source:
    """A contribution file and the SHA-256 of its bytes, as `sha256sum` prints it."""

    path: Path
    digest: str

    @property
    def is_there(self) -> bool:
        """Whether the file is where it was, with the same bytes."""
        return self.path.is_file() and file_digest(self.path) == self.digest


@dataclass(frozen=True)
class Sources:
    """The `contributions` of a distillation by client, and the labelled data that it was tested on, if any.

    `regional` are contributions that were made of all of them.
    """

    contributions: Mapping[int, Source]
    test: Path | None
    regional: tuple[Source, ...] = ()


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, as `sha256sum` prints it; raises UsageError where it cannot be read."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def write_sources(folder: Path, files: Mapping[int, Path], test: Path | None, regional: Path | None = None) -> None:
    """Write `sources.json` of the run in `folder`. Paths in the folder are relative to it, others absolute.

    `regional` is added to the regional contributions that it names; none stays where other `files` are named.
    """
    rows = [{"client": client, **_row(folder, path)} for client, path in sorted(files.items())]
    made = list[dict[str, str]]()
    if (folder / FILE).exists():
        before = read_sources(folder)
        if [source.digest for _, source in sorted(before.contributions.items())] == [row["sha256"] for row in rows]:
            made = [{"file": place_text(folder, source.path), "sha256": source.digest} for source in before.regional]
    if regional is not None and (row := _row(folder, regional)) not in made:
        made.append(row)
    content = {
        "contributions": rows,
        "test": None if test is None else place_text(folder, test),
        "regional": made,
    }
    write_atomic(folder / FILE, json.dumps(content, indent=2) + "\n")


def _row(folder: Path, path: Path) -> dict[str, str]:
    return {"file": place_text(folder, path), "sha256": file_digest(path)}


def read_sources(folder: Path) -> Sources:
    """The content of `sources.json`; raises UsageError where it is missing or damaged."""
    content = read_if_there(folder / FILE)
    if content is None:
        raise UsageError(
            f"{folder / FILE} is missing, as in a run of an earlier version, so nobody knows the contribution files: "
            "distil the others again, with --force"
        )
    try:
        values = json.loads(content)
        rows = {int(row["client"]): _source(folder, row) for row in values["contributions"]}
        test = values["test"]
        made = [_source(folder, row) for row in values["regional"]]
        return Sources(rows, None if test is None else folder / test, tuple(made))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{folder / FILE} is damaged: distil the other contributions again, with --force") from error


def _source(folder: Path, row: Mapping[str, Any]) -> Source:
    return Source(folder / row["file"], str(row["sha256"]))


def place_text(folder: Path, path: Path) -> str:
    """The path relative to `folder` where it lies in it, else absolute."""
    whole = path.resolve()
    within = folder.resolve()
    return str(whole.relative_to(within) if whole.is_relative_to(within) else path.absolute())
