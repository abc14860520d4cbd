"""What the files of a run on one machine tell: whose contributions are there, whom it waits for, what came last."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.report.summary import Summary
from mosaic_fl.storage.files import read_text
from mosaic_fl.watch.words import size, span

MOST = 100_000  # clients of which a configuration is believed


@dataclass(frozen=True)
class Arrival:
    """The contribution of a client: its `bytes`, and when it was written (UTC seconds)."""

    bytes: int
    time: float


def arrivals_of(folder: Path, summary: Summary) -> dict[str, Arrival | None]:
    """The clients of a run by name, None where the contribution is missing.

    Empty before the first contribution, and for commands and methods that have none.
    """
    arrivals = dict[str, Arrival | None]()
    for path in sorted(folder.glob("contributions/*.contribution")):
        try:
            written = path.stat()
        except OSError:  # it goes while we look
            continue
        arrivals[path.stem] = Arrival(written.st_size, written.st_mtime)
    if arrivals and summary.command == "run":
        names = (f"client-{k:03}" for k in range(_clients(folder)))
        arrivals |= {name: None for name in names if name not in arrivals}
    return dict(sorted(arrivals.items()))


def _clients(folder: Path) -> int:
    """The number of clients of a simulation; 0 where its configuration does not say it."""
    try:
        content = tomllib.loads(read_text(folder / "config.toml"))
    except (UsageError, tomllib.TOMLDecodeError, RecursionError):
        return 0
    partition = content.get("partition")
    count = partition.get("clients") if isinstance(partition, dict) else None
    return count if isinstance(count, int) and 0 < count <= MOST else 0


def local_columns(arrivals: Mapping[str, Arrival | None]) -> tuple[str, ...]:
    """The names of the columns of `local_rows`."""
    return ("client", "contribution", "for", "size") if arrivals else ()


def local_rows(arrivals: Mapping[str, Arrival | None], now: float) -> list[tuple[str, ...]]:
    """One row a client, at the time `now` (UTC seconds)."""
    return [
        (name, "missing", "", "") if one is None else (name, "received", span(now - one.time), size(one.bytes))
        for name, one in arrivals.items()
    ]


def cell_times(folder: Path) -> list[float]:
    """When the cells of a comparison were done (UTC seconds); empty for any other run."""
    return [time for time, _ in _written(folder, "cells/*.json")]


def latest_files(folder: Path, most: int) -> list[tuple[float, str]]:
    """(time, words) of the `most` parts that were finished last, latest first."""
    parts = [(time, f"{name}: contribution written") for time, name in _written(folder, "contributions/*.contribution")]
    stages = _written(folder, "stages/*.safetensors")
    parts += [(time, f"stage {name} finished") for time, name in stages if not name.startswith("client-")]
    parts += [(time, f"cell {name} finished") for time, name in _written(folder, "cells/*.json")]
    parts += [(time, f"{name} written") for time, name in _written(folder, "result.json")]
    return sorted(parts, reverse=True)[:most]


def _written(folder: Path, pattern: str) -> list[tuple[float, str]]:
    """(time of its last change, name without the ending) of each file."""
    files = list[tuple[float, str]]()
    for path in folder.glob(pattern):
        try:
            files.append((path.stat().st_mtime, path.stem))
        except OSError:  # it goes while we look
            continue
    return files
