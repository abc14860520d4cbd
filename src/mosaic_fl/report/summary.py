"""What the folder of a run or comparison on one machine shows: it tells nothing, but keeps what it finished."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.runs.folder import MARKER
from mosaic_fl.runs.result import FILE, read_result
from mosaic_fl.storage.files import read_bytes, read_if_there, require_path
from mosaic_fl.storage.folder_lock import occupied
from mosaic_fl.watch.words import span

STATES = {True: "running", False: "stopped", None: "unknown"}


@dataclass(frozen=True)
class Kept:
    """`finished` stages in the order in which they were, and `contributions`, as files in the folder of a `command`.

    `cells` are those of a comparison that are done, `runnable` those that can run (None before the first is done), and
    `failed` those that did not. `changed` is when the latest of all was written (UTC seconds); `accuracy` the one of
    `result.json`; `at_work` whether some process works there, None where nobody can say.
    """

    command: str
    ended: bool
    finished: tuple[str, ...]
    contributions: int
    cells: int
    changed: float
    accuracy: float | None = None
    runnable: int | None = None
    failed: int = 0
    at_work: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """For `mosaic status --json`; `state` is finished, running, stopped, or unknown where nobody can say."""
        state = "finished" if self.ended else STATES[self.at_work]
        return {"state": state, **asdict(self), "finished": list(self.finished)}


def read_kept(folder: Path) -> Kept:
    """What is in `folder`; raises UsageError where it is not the folder of a run, or a file in it is damaged."""
    require_path(folder)
    text = read_if_there(folder / MARKER)
    if text is None:
        what = "not the folder of a run" if folder.is_dir() else "no folder"
        raise UsageError(f"{folder} is {what}: name what --out was")
    try:
        marker = json.loads(text)
        if "mosaic_fl" not in marker or not isinstance(marker.get("options", {}), dict):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{folder / MARKER} is damaged or no run's: name what --out was") from error
    stages = sorted((_written(path), path.stem) for path in folder.glob("stages/*.safetensors"))
    contributions = list(folder.glob("contributions/*.contribution"))
    cells = list(folder.glob("cells/*.json"))
    latest = [folder / MARKER, folder / "table.json", *contributions, *cells, folder / FILE]
    times = [_written(path) for path in latest] + [time for time, _ in stages]
    result = read_result(folder)
    grid = _grid(folder / "table.json", marker)
    accuracy = _accuracy(result or {})
    names = tuple(name for _, name in stages) or _timed(result or {})
    ended = result is not None if grid is None else grid.left == 0
    told = str(marker.get("command", "run")), ended, names, len(contributions), len(cells), max(times), accuracy
    runnable, failed = (None, 0) if grid is None else (grid.runnable, grid.failed)
    return Kept(*told, runnable=runnable, failed=failed, at_work=occupied(folder))


def kept_lines(kept: Kept, now: float) -> list[str]:
    """`kept` in words, at the time `now` (UTC seconds)."""
    ago = span(now - kept.changed)
    said = [f"mosaic {kept.command} on one machine, which tells only what it finished; last written {ago} ago"]
    if kept.ended:
        accuracy = "" if kept.accuracy is None else f": test accuracy {100 * kept.accuracy:.1f} %"
        said.append(f"finished{accuracy}")
    if kept.cells or kept.runnable:
        failed = f", {kept.failed} failed" if kept.failed else ""
        said.append(f"cells done: {kept.cells}{f' of {kept.runnable}' if kept.runnable else ''}{failed}")
    if kept.contributions:
        said.append(f"contributions: {kept.contributions}")
    server = [name for name in kept.finished if not name.startswith("client-")]
    if server:
        said.append(f"stages done: {', '.join(server)}")
    if not kept.ended:
        again = "start it again with the same command and --resume"
        words = {
            True: "at work",
            False: f"not finished, and nobody works there: {again}",
            None: f"not finished: if it is not at work, {again}",
        }
        said.append(words[kept.at_work])
    return said


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _accuracy(result: Mapping[str, Any]) -> float | None:
    value = result.get("accuracy")
    return float(value) if isinstance(value, (int, float)) and abs(value) <= 1 else None


def _timed(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages of a run that has its result, whose files are gone with it, as the result times them."""
    seconds = result.get("seconds")
    names = seconds if isinstance(seconds, dict) else {}
    return tuple(str(name) for name in names if name not in ("load", "measure", "other", "total"))


@dataclass(frozen=True)
class _Grid:
    """How many cells of a comparison can run, how many of those failed, and how many are `left` to be done."""

    runnable: int
    failed: int
    left: int


def _grid(table: Path, marker: dict[str, Any]) -> _Grid | None:
    """What `table.json` says of a comparison, or None where there is none yet, or a marker without the seeds.

    A row stands for one cell a seed, and a one-shot method's row in the table of every number of rounds.
    """
    seeds = marker.get("options", {}).get("seeds")
    if seeds is None or not table.exists():
        return None
    content = _content(table)
    axes = ("clients", "alpha", "architectures", "method", "rounds")
    try:
        rows = {tuple(row[axis] for axis in axes) for row in content["tables"]}
        states = Counter(cell["status"] for cell in content["cells"])
        runnable = len(rows) * len(seeds.split(",")) - states["cannot"]
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(table) from error
    return _Grid(runnable, states["failed"], runnable - states["done"])


def _content(path: Path) -> dict[str, Any]:
    """The JSON object in a file that the run writes whole; raises UsageError where it is none."""
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is damaged: the same command with --resume writes it again")
