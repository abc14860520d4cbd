"""Follows a run through its folder and tells trackers, which live in a process of their own."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.extras import require
from mosaic_fl.notes import note
from mosaic_fl.storage.files import read_text
from mosaic_fl.tracking.curves import Curves
from mosaic_fl.tracking.entries import RECORD
from mosaic_fl.tracking.named import TRACKERS
from mosaic_fl.training.monitor import Listener

FILES = ("result.json", "report.html", "config.toml", "metrics.jsonl")
"""What a tracker that has files is given of a run's folder: no model and no contribution."""
PLACES = "tracked"  # folder of those of a comparison's cells, for trackers that write files
LOG = "tracking.log"  # what the trackers' packages print
PATIENCE = 60.0  # seconds for what is still on its way when the run has ended
OF_CLIENTS = ("local_accuracy", "samples", "bytes_up", "bytes_down")  # lists of a result with one number a client


class Following:
    """Tells `process`, which has the trackers, of the run in `folder`; without a process it does nothing."""

    def __init__(self, process: "subprocess.Popen[str] | None", folder: Path) -> None:
        self.process = process
        self.folder = folder
        self._curves = Curves(folder)
        self._stages = set[str]()
        self._lock = threading.Lock()

    def beside(self, listen: Listener) -> Listener:
        """`listen`, and behind it the points that are new at the end of each stage and of each client's work."""
        if self.process is None:
            return listen

        def both(stage: str, client: int, done: int, total: int) -> None:
            listen(stage, client, done, total)
            if done >= total and (client < 0 or stage == "client"):
                self._hear(stage, client)

        return both

    def finish(self) -> None:
        """Send what is still new, the figures of `result.json` and the files; the run has its result."""
        if self.process is None:
            return
        with self._lock:
            self._points()
            figures = final_figures(json.loads(read_text(self.folder / FILES[0], 2**28)))
            self._send({"figures": figures, "step": 0})
        self.files(FILES)

    def figures(self, values: Mapping[str, float], step: int) -> None:
        """Send a point at `step` (≥ 0) of each of these curves."""
        if self.process is None:
            return
        with self._lock:
            self._send({"figures": dict(values), "step": step})

    def files(self, names: Sequence[str]) -> None:
        """Send those of these files that are in the folder."""
        if self.process is None:
            return
        with self._lock:
            for path in (self.folder / name for name in names):
                if path.exists():
                    self._send({"file": str(path.resolve())})

    def entry(self, name: str, parameters: Mapping[str, Any], figures: Mapping[str, float], to: Sequence[str]) -> None:
        """Send a whole run `name` of its own, as a cell of a comparison is, to the trackers `to`.

        A line in `RECORD` says for each of them when it has it (`entries`).
        """
        if self.process is None:
            return
        texts = {key: str(value) for key, value in sorted(parameters.items())}
        place = str((self.folder / PLACES / name).resolve())
        entry = {"entry": name, "to": list(to), "folder": place, "parameters": texts, "figures": dict(figures)}
        with self._lock:
            self._send(entry | {"record": str((self.folder / RECORD).resolve())})

    def end(self, *, succeeded: bool) -> None:
        """End the run in all trackers, and tell of those that were lost."""
        if self.process is None:
            return
        with self._lock:
            self._send({"end": succeeded})
        try:
            answers, _ = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            answers, _ = self.process.communicate()
            note(f"--track: not all arrived within {PATIENCE:.0f} s: {self.folder / LOG} may say why")
        for answer in map(json.loads, answers.splitlines()):
            note(f"--track {answer['lost']} failed, and the run went on without it: {answer['reason']}")

    def _hear(self, stage: str, client: int) -> None:
        with self._lock:
            if client < 0 and stage not in self._stages:
                self._stages.add(stage)
                self._send({"figures": {"progress/stages": len(self._stages)}, "step": len(self._stages)})
            self._points()

    def _points(self) -> None:
        for values, step in self._curves.new():
            self._send({"figures": values, "step": step})

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # the process is gone, or was: the run is worth more than its curves
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()


def require_trackers(names: Sequence[str]) -> None:
    """Raise UsageError for an unknown tracker, or one whose package is not installed; imports none of them."""
    for name in names:
        require(f"--track {name}", *TRACKERS[name].packages)


@contextmanager
def following(names: Sequence[str], folder: Path, parameters: Mapping[str, Any]) -> Iterator[Following]:
    """Start a run in each of these trackers, and end it with the block: as failed where that raises.

    `parameters` are settings by name, of any type. Raises UsageError where a tracker cannot start.
    """
    follower = Following(_start(names, folder, parameters) if names else None, folder)
    succeeded = False
    try:
        yield follower
        succeeded = True
    finally:
        follower.end(succeeded=succeeded)


def _start(names: Sequence[str], folder: Path, parameters: Mapping[str, Any]) -> "subprocess.Popen[str]":
    """The process of these trackers, which have started; raises UsageError where one cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: str(value) for name, value in sorted(parameters.items())}
    place = folder.resolve()
    order = {"start": list(names), "name": place.name, "folder": str(place), "parameters": texts}
    words = [sys.executable, "-m", "mosaic_fl.tracking.process"]
    with (folder / LOG).open("w", encoding="utf-8") as log:
        pipe = subprocess.PIPE
        process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=log, text=True, encoding="utf-8")
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
    answer = json.loads(process.stdout.readline() or "{}")
    if "started" not in answer:
        process.communicate()
        named = answer.get("cannot", ",".join(names))
        reason = answer.get("reason", f"{folder / LOG} may say why")
        raise UsageError(f"--track {named} cannot start: {reason}; mend it, or leave out --track; then --resume")
    return process


def final_figures(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a result, by name: `final/accuracy`, `final/local_accuracy/client 0`, `final/seconds/train`."""
    figures = dict[str, float]()
    for name, value in result.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            figures[f"final/{name}"] = float(value)
        elif name in OF_CLIENTS and isinstance(value, list):
            clients = result.get("contributors") or range(len(value))
            pairs = zip(clients, value, strict=False)
            figures |= {f"final/{name}/client {k}": float(v) for k, v in pairs if isinstance(v, int | float)}
        elif name == "seconds":
            figures |= {f"final/{name}/{stage}": float(seconds) for stage, seconds in value.items()}
    return figures
