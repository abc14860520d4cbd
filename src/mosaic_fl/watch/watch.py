"""The one who is told what happens in a run: keeps it in the run's folder and says it aloud."""

import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

from mosaic_fl.errors import MosaicError
from mosaic_fl.storage.files import read_if_there, write_atomic
from mosaic_fl.storage.stopwatch import CLIENTS
from mosaic_fl.watch.event import MAX_EVENTS, Event, Fact, Kind, clean, parse, read_events
from mosaic_fl.watch.status import Status, apply, fold
from mosaic_fl.watch.words import sentence

EVENTS = "events.jsonl"
STATUS = "status.json"
LOGGER = logging.getLogger("mosaic_fl.watch")
SECONDS_BETWEEN = 1.0  # of two status files that only differ in progress
SERIOUS = {
    "refused": logging.WARNING,
    "left_out": logging.WARNING,
    "gone": logging.WARNING,
    "run_failed": logging.ERROR,
}


class Watch:
    """Keeps the events and the status of the run in `folder`, and logs each event as one line.

    `events.jsonl` is added to and never rewritten; what a killed process left there is read first, so that the status
    goes on from it. `status.json` is always whole. A line is for people, or with `json_logs` a JSON object. Lines go
    to `stream`; with None, to whatever the logger "mosaic_fl.watch" and those above it are set to. `clock` gives UTC
    seconds.

    `tell` may be called from any thread. A disk that is full or gone is logged once and stops no run. Use as a context
    manager, or call `close`; what is told later is passed over.
    """

    def __init__(
        self,
        folder: Path,
        json_logs: bool = False,
        stream: IO[str] | None = sys.stderr,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.clock = clock
        self._json_logs = json_logs
        self._lock = threading.RLock()
        self._closed = self._complained = self._torn = False
        self._written = float("-inf")
        self._shown = ("", -1)  # stage and tenths of it that were logged last
        self._handler = None if stream is None else _handler(stream, self, json_logs)
        if self._handler is not None:
            LOGGER.addHandler(self._handler)
        LOGGER.setLevel(LOGGER.level or logging.INFO)
        self._status = self._take_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def status(self) -> Status:
        """Where the run stands; a value that does not change."""
        return self._status

    def tell(self, kind: Kind, client: int = -1, **facts: Any) -> None:
        """`kind` happened to `client` (−1: to the run); see `Kind` for the facts of each."""
        with self._lock:
            if self._closed:
                return
            if kind == "run_started":
                facts = {"pid": os.getpid(), "host": platform.node()} | facts
            told: dict[str, Fact] = {name: clean(value) for name, value in facts.items()}
            event = Event(round(self.clock(), 3), kind, client, told)
            before = self._status
            self._status = apply(self._status, event)
            if kind != "stage_progress" or self._says_more(event):
                self._append(event)
                self._log(event)
            waited = not 0 <= event.time - self._written < SECONDS_BETWEEN
            if kind != "stage_progress" or waited or self._status.stage != before.stage:
                self._write(event.time)

    def listen(self, stage: str, client: int, done: int, total: int) -> None:
        """A `monitor.Listener` that tells the progress of the server's own stages."""
        if client < 0 and stage != CLIENTS:  # of which the exchange tells
            self.tell("stage_progress", stage=stage, done=done, total=total)

    def close(self) -> None:
        """Write the last status and stop logging."""
        with self._lock:
            if self._closed:
                return
            self._write(self.clock())
            self._closed = True
            if self._handler is not None:
                LOGGER.removeHandler(self._handler)

    def _says_more(self, event: Event) -> bool:
        """Whether progress is in another tenth of its stage than what was kept last: a run has millions of steps."""
        shown = (event.text("stage"), 10 * event.count("done") // max(event.count("total"), 1))
        more = shown != self._shown
        self._shown = shown
        return more

    def _take_up(self) -> Status:
        """The status that the events in the folder give, whose last line a kill may have torn."""
        path = self.folder / EVENTS
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            events = read_events(path)
            content = read_if_there(path, MAX_EVENTS) or b""
            if content and not content.endswith(b"\n"):
                whole, _, last = content.rpartition(b"\n")
                with path.open("r+b") as file:
                    if parse(last) is None:
                        file.truncate(len(whole) + 1 if whole else 0)
                    else:
                        file.seek(0, os.SEEK_END)
                        file.write(b"\n")
        except OSError as error:
            raise MosaicError(f"cannot keep events in {path}: {error.strerror}") from error
        return fold(events)

    def _append(self, event: Event) -> None:
        try:
            # Opened for each event: nothing is lost in a buffer, and a folder that was moved away is noticed.
            with (self.folder / EVENTS).open("ab", buffering=0) as file:
                file.write(b"\n" * self._torn + event.to_json().encode() + b"\n")
            self._torn = False
        except OSError as error:
            self._torn = True  # perhaps half a line is there
            self._complain(f"cannot write {self.folder / EVENTS}: {error.strerror}")

    def _write(self, now: float) -> None:
        try:
            write_atomic(self.folder / STATUS, json.dumps(self._status.to_json(), ensure_ascii=False, indent=2) + "\n")
            self._written = now
        except MosaicError as error:
            self._complain(str(error))

    def _log(self, event: Event) -> None:
        told = {"kind": event.kind, "client": event.client, "facts": dict(event.facts)}
        self._say(SERIOUS.get(event.kind, logging.INFO), event.time, sentence(event), told)

    def _complain(self, said: str) -> None:
        if not self._complained:
            self._complained = True
            self._say(logging.WARNING, self.clock(), said, {})

    def _say(self, level: int, seconds: float, said: str, told: dict[str, Any]) -> None:
        if self._json_logs:
            line = {"time": seconds, "level": logging.getLevelName(level).lower(), **told, "message": said}
            said = json.dumps(line, ensure_ascii=False)
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
        LOGGER.log(level, "%s", said, extra={"watch": self, "clock": clock})


def _handler(stream: IO[str], watch: Watch, json_logs: bool) -> logging.Handler:
    """Writes the lines of `watch` alone to `stream`: two runs in one process do not mix."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s" if json_logs else "%(clock)s %(message)s"))
    handler.addFilter(lambda record: getattr(record, "watch", None) is watch)
    return handler
