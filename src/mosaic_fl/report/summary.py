"""The summary of a run or comparison on one machine, for `mosaic status`: it counts the files in the run's folder.

Such a run writes no events, unlike a run over a network (`watch`). It leaves a file for each part that it finished.
"""

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
class Summary:
    """The files in the folder of a `command`: its `finished` stages in their order, and the number of `contributions`.

    Of a comparison, `cells` is the number of finished cells, `runnable` the number that can run (None before the first
    is finished), and `failed` the number that failed. `changed` is the time of the latest file (UTC seconds);
    `accuracy` is that of `result.json`; `at_work` says whether a process works in the folder (None: unknown).
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
        """For `mosaic status --json`; `state` is finished, running, stopped or unknown."""
        state = "finished" if self.ended else STATES[self.at_work]
        return {"state": state, **asdict(self), "finished": list(self.finished)}


def read_summary(folder: Path) -> Summary:
    """The summary of `folder`; raises UsageError if it is not the folder of a run, or if a file in it is damaged."""
    require_path(folder)
    text = read_if_there(folder / MARKER)
    if text is None:
        reason = "not the folder of a run" if folder.is_dir() else "no folder"
        raise UsageError(f"{folder} is {reason}: name what --out was")
    try:
        marker = json.loads(text)
        if "mosaic_fl" not in marker or not isinstance(marker.get("options", {}), dict):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{folder / MARKER} is damaged or no run's: name what --out was") from error
    stages = sorted((_write_time(path), path.stem) for path in folder.glob("stages/*.safetensors"))
    contributions = list(folder.glob("contributions/*.contribution"))
    cells = list(folder.glob("cells/*.json"))
    latest = [folder / MARKER, folder / "table.json", *contributions, *cells, folder / FILE]
    times = [_write_time(path) for path in latest] + [time for time, _ in stages]
    result = read_result(folder)
    grid = _grid(folder / "table.json", marker)
    accuracy = _accuracy(result or {})
    names = tuple(name for _, name in stages) or _result_stages(result or {})
    return Summary(
        command=str(marker.get("command", "run")),
        ended=result is not None if grid is None else grid.pending == 0,
        finished=names,
        contributions=len(contributions),
        cells=len(cells),
        changed=max(times),
        accuracy=accuracy,
        runnable=None if grid is None else grid.runnable,
        failed=0 if grid is None else grid.failed,
        at_work=occupied(folder),
    )


def summary_lines(summary: Summary, now: float) -> list[str]:
    """`summary` as text, one sentence a line, at the time `now` (UTC seconds)."""
    ago = span(now - summary.changed)
    lines = [f"mosaic {summary.command} on one machine: only its finished parts are known; last written {ago} ago"]
    if summary.ended:
        accuracy = "" if summary.accuracy is None else f": test accuracy {100 * summary.accuracy:.1f} %"
        lines.append(f"finished{accuracy}")
    if summary.cells or summary.runnable:
        failed = f", {summary.failed} failed" if summary.failed else ""
        lines.append(f"cells done: {summary.cells}{f' of {summary.runnable}' if summary.runnable else ''}{failed}")
    if summary.contributions:
        lines.append(f"contributions: {summary.contributions}")
    server_stages = [name for name in summary.finished if not name.startswith("client-")]
    if server_stages:
        lines.append(f"stages done: {', '.join(server_stages)}")
    if not summary.ended:
        again = "" if summary.command == "withdraw" else " and --resume"
        resume = f"start it again with the same command{again}"
        words = {
            True: "at work",
            False: f"not finished, and nobody works there: {resume}",
            None: f"not finished: if it is not at work, {resume}",
        }
        lines.append(words[summary.at_work])
    return lines


def _write_time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _accuracy(result: Mapping[str, Any]) -> float | None:
    value = result.get("accuracy")
    return float(value) if isinstance(value, (int, float)) and abs(value) <= 1 else None


def _result_stages(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages that a result has times for: a finished run has removed the files of its stages."""
    seconds = result.get("seconds")
    names = seconds if isinstance(seconds, dict) else {}
    return tuple(str(name) for name in names if name not in ("load", "measure", "other", "total"))


@dataclass(frozen=True)
class _Grid:
    """Numbers of cells of a comparison: those that can run, that failed, and that are not done (failures included)."""

    runnable: int
    failed: int
    pending: int


def _grid(table: Path, marker: dict[str, Any]) -> _Grid | None:
    """The numbers in `table.json` of a comparison; None without that file, or if the marker does not have the seeds.

    A row stands for one cell of each seed. A one-shot method has its row in the table of every number of rounds.
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
    """The JSON object in a file of the run; raises UsageError if the file holds none."""
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> UsageError:
    return UsageError(f"{path} is damaged: the same command with --resume writes it again")
