"""What the folder of a run on one machine shows of it: such a run tells nothing, but keeps what it finished."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.run_folder import MARKER
from mosaic_fl.watch.words import span


@dataclass(frozen=True)
class Kept:
    """`finished` stages in the order in which they were, and `contributions`, as files in the folder of a `command`.

    `cells` are those of a comparison; `changed` is when the latest of all was written (UTC seconds); `accuracy` the
    one of `result.json`.
    """

    command: str
    ended: bool
    finished: tuple[str, ...]
    contributions: int
    cells: int
    changed: float
    accuracy: float | None = None

    def to_json(self) -> dict[str, Any]:
        """For `mosaic status --json`; `state` is finished, or unknown: whether it is at work no file says."""
        return {"state": "finished" if self.ended else "unknown", **asdict(self), "finished": list(self.finished)}


def read_kept(folder: Path) -> Kept:
    """What is in `folder`; raises UsageError where it is not the folder of a run."""
    try:
        marker = json.loads((folder / MARKER).read_text("utf-8"))
        if "mosaic_fl" not in marker:
            raise ValueError
    except (OSError, ValueError, TypeError) as error:
        what = "not the folder of a run" if folder.is_dir() else "no folder" if not folder.exists() else "a file"
        raise UsageError(f"{folder} is {what}: name what --out was") from error
    stages = sorted((_written(path), path.stem) for path in folder.glob("stages/*.safetensors"))
    contributions, cells = list(folder.glob("contributions/*.contribution")), list(folder.glob("cells/*.json"))
    result, latest = folder / "result.json", [folder / MARKER, folder / "table.json", *contributions, *cells]
    times = [_written(path) for path in (*latest, result)] + [time for time, _ in stages]
    names = tuple(name for _, name in stages)
    told = str(marker.get("command", "run")), result.exists(), names, len(contributions), len(cells)
    return Kept(*told, max(times), _accuracy(result))


def kept_lines(kept: Kept, now: float) -> list[str]:
    """`kept` in words, at the time `now` (UTC seconds)."""
    ago = span(now - kept.changed)
    said = [f"mosaic {kept.command} on one machine, which tells only what it finished; last written {ago} ago"]
    if kept.ended:
        accuracy = "" if kept.accuracy is None else f": test accuracy {100 * kept.accuracy:.1f} %"
        said.append(f"finished{accuracy}")
    if kept.cells:
        said.append(f"cells done: {kept.cells}")
    if kept.contributions:
        said.append(f"contributions: {kept.contributions}")
    server = [name for name in kept.finished if not name.startswith("client-")]
    if server:
        said.append(f"stages done: {', '.join(server)}")
    if not kept.ended and kept.command != "compare":
        said.append("not finished: if it is not at work, start it again with the same command and --resume")
    return said


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _accuracy(result: Path) -> float | None:
    try:
        value = json.loads(result.read_text("utf-8"))["accuracy"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(value) if isinstance(value, (int, float)) else None
