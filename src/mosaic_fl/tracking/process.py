"""The process in which trackers live: `python -m mosaic_fl.tracking.process`, fed by `following` with lines of JSON.

A process of its own, since trackers have threads, and the run's workers are forked where no thread is. Whatever a
tracker's package does there, it cannot change the run.
"""

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from mosaic_fl.tracking.entries import send_entry
from mosaic_fl.tracking.named import TRACKERS
from mosaic_fl.tracking.tracker import Tracker


def main() -> None:
    """Start the trackers that the first line names and answer whether they did; then do what each line says."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the run, and that says how it ended
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what packages print goes to the log
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    # The pipe is read at once, so that a slow tracker never makes the run wait.
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    trackers = _start(json.loads(lines.get()), answers)
    ended = False
    while line := lines.get():
        message = json.loads(line)
        ended = ended or "end" in message
        _tell(trackers, _act(message), answers)
    if not ended:  # the run's process is gone
        _tell(trackers, _act({"end": False}), answers)


def _read(lines: "queue.SimpleQueue[str]") -> None:
    for line in sys.stdin:
        lines.put(line)
    lines.put("")


def _start(order: Mapping[str, Any], answers: TextIO) -> dict[str, Tracker]:
    """The trackers by name; ends the process where one cannot start."""
    trackers = dict[str, Tracker]()
    for name in order["start"]:
        try:
            trackers[name] = TRACKERS[name].start(order["name"], Path(order["folder"]), order["parameters"])
        except BaseException as error:  # some packages end the process where nobody is logged in
            _say(answers, {"cannot": name, "reason": first_line(error)})
            _tell(trackers, _act({"end": False}), answers)
            sys.exit(1)
    _say(answers, {"started": True})
    return trackers


def _act(message: Mapping[str, Any]) -> Callable[[str, Tracker], None]:
    """What a line tells each tracker, by its name, to do."""
    if "entry" in message:
        return lambda name, _: send_entry(name, message) if name in message["to"] else None
    if "figures" in message:
        return lambda _, tracker: tracker.figures(message["figures"], message["step"])
    if "file" in message:
        return lambda _, tracker: tracker.file(Path(message["file"]))
    return lambda _, tracker: tracker.end(succeeded=message["end"])


def _tell(trackers: dict[str, Tracker], act: Callable[[str, Tracker], None], answers: TextIO) -> None:
    """Let each tracker `act`; one that fails is told no more, and the run's process says so."""
    for name, tracker in list(trackers.items()):
        try:
            act(name, tracker)
        except Exception as error:
            del trackers[name]
            _say(answers, {"lost": name, "reason": first_line(error)})


def _say(answers: TextIO, content: Mapping[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def first_line(error: BaseException) -> str:
    """The first line of an error, 200 characters at most; its type where it says nothing."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


if __name__ == "__main__":
    main()
