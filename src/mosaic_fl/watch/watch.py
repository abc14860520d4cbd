"""The watch of a run: `tell` it an event, and it updates the status, writes both to disk and logs a line."""

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
from mosaic_fl.watch.rules import apply, fold
from mosaic_fl.watch.status import Status
from mosaic_fl.watch.words import sentence

EVENTS = "events.jsonl"
STATUS = "status.json"
LOGGER = logging.getLogger("mosaic_fl.watch")
SECONDS_BETWEEN = 1.0  # between two status files that differ only in progress, or of many clients
MANY = 100  # clients: the status of more is not written for each event, which costs as much as there are clients
SERIOUS = {
    "refused": logging.WARNING,
    "left_out": logging.WARNING,
    "gone": logging.WARNING,
    "run_failed": logging.ERROR,
}


class Watch:
    """Writes the events and the status of the run to `folder`, and logs each event as one line.

    `events.jsonl` only grows. The events that an earlier process left there are read first, so the status continues
    from them. `status.json` is replaced as a whole, where clients are many once a second at most. A log line is text
    for people, or with `json_logs` a JSON object. Lines go to `stream`; with None, the logger "mosaic_fl.watch" decides
    as the user has configured it. `clock` gives UTC seconds.

    `tell` may be called from any thread. A failure to write is logged once and stops no run. Use as a context manager,
    or call `close`; later events are ignored.
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
        self._is_closed = False
        self._has_complained = False
        self._line_is_torn = False
        self._last_write = float("-inf")
        self._timer: threading.Timer | None = None  # writes what was not written at once
        self._last_progress = ("", -1)  # stage and tenths of it in the latest log line
        self._handler = None if stream is None else _handler(stream, self, json_logs)
        if self._handler is not None:
            LOGGER.addHandler(self._handler)
        LOGGER.setLevel(LOGGER.level or logging.INFO)
        self._status = fold(self._read_events())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def status(self) -> Status:
        """Where the run stands now; an immutable value."""
        return self._status

    def tell(self, kind: Kind, client: int = -1, **facts: Any) -> None:
        """Record that `kind` happened to `client` (−1: to the run). `Kind` lists the facts of each kind."""
        with self._lock:
            if self._is_closed:
                return
            if kind == "run_started":
                facts = {"pid": os.getpid(), "host": platform.node()} | facts
            clean_facts: dict[str, Fact] = {name: clean(value) for name, value in facts.items()}
            event = Event(round(self.clock(), 3), kind, client, clean_facts)
            before = self._status
            self._status = apply(self._status, event)
            if kind != "stage_progress" or self._is_next_tenth(event):
                self._append(event)
                self._log(event)
            is_due = not 0 <= event.time - self._last_write < SECONDS_BETWEEN
            has_turned = (self._status.stage, self._status.state) != (before.stage, before.state)
            if is_due or has_turned or (kind != "stage_progress" and len(self._status.clients) <= MANY):
                self._write(event.time)
            elif kind != "stage_progress":
                self._write_later()

    def listen(self, stage: str, client: int, done: int, total: int) -> None:
        """A `monitor.Listener` that records the progress of the server's own stages."""
        if client < 0 and stage != CLIENTS:  # that stage's events come from the exchange
            self.tell("stage_progress", stage=stage, done=done, total=total)

    def close(self) -> None:
        """Write the last status and stop logging."""
        with self._lock:
            if self._is_closed:
                return
            if self._timer is not None:
                self._timer.cancel()
            self._write(self.clock())
            self._is_closed = True
            if self._handler is not None:
                LOGGER.removeHandler(self._handler)

    def _is_next_tenth(self, event: Event) -> bool:
        """Whether progress has come to another tenth of its stage; a line for each of a million steps is too many."""
        progress = (event.text("stage"), 10 * event.count("done") // max(event.count("total"), 1))
        is_next = progress != self._last_progress
        self._last_progress = progress
        return is_next

    def _read_events(self) -> list[Event]:
        """The events in the folder. A kill may have torn the last line of their file, which is mended here."""
        path = self.folder / EVENTS
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            events = read_events(path)
            content = read_if_there(path, MAX_EVENTS) or b""
            if content and not content.endswith(b"\n"):
                complete, _, last = content.rpartition(b"\n")
                with path.open("r+b") as file:
                    if parse(last) is None:
                        file.truncate(len(complete) + 1 if complete else 0)
                    else:
                        file.seek(0, os.SEEK_END)
                        file.write(b"\n")
        except OSError as error:
            raise MosaicError(f"cannot keep events in {path}: {error.strerror}") from error
        return events

    def _append(self, event: Event) -> None:
        try:
            # Opened for each event: a kill loses nothing in a buffer, and a folder that was moved away is noticed.
            with (self.folder / EVENTS).open("ab", buffering=0) as file:
                file.write(b"\n" * self._line_is_torn + event.to_json().encode() + b"\n")
            self._line_is_torn = False
        except OSError as error:
            self._line_is_torn = True  # perhaps half a line was written
            self._complain(f"cannot write {self.folder / EVENTS}: {error.strerror}")

    def _write_later(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(SECONDS_BETWEEN, self._write_latest)
            self._timer.daemon = True
            self._timer.start()

    def _write_latest(self) -> None:
        with self._lock:
            self._timer = None
            if not self._is_closed:
                self._write(self.clock())

    def _write(self, now: float) -> None:
        try:
            write_atomic(self.folder / STATUS, json.dumps(self._status.to_json(), ensure_ascii=False, indent=2) + "\n")
            self._last_write = now
        except MosaicError as error:
            self._complain(str(error))

    def _log(self, event: Event) -> None:
        content = {"kind": event.kind, "client": event.client, "facts": dict(event.facts)}
        self._log_line(SERIOUS.get(event.kind, logging.INFO), event.time, sentence(event), content)

    def _complain(self, message: str) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._log_line(logging.WARNING, self.clock(), message, {})

    def _log_line(self, level: int, seconds: float, message: str, content: dict[str, Any]) -> None:
        line = message
        if self._json_logs:
            values = {"time": seconds, "level": logging.getLevelName(level).lower(), **content, "message": message}
            line = json.dumps(values, ensure_ascii=False)
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
        LOGGER.log(level, "%s", line, extra={"watch": self, "clock": clock})


def _handler(stream: IO[str], watch: Watch, json_logs: bool) -> logging.Handler:
    """Writes only the lines of `watch` to `stream`, so that two runs in one process do not mix."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s" if json_logs else "%(clock)s %(message)s"))
    handler.addFilter(lambda record: getattr(record, "watch", None) is watch)
    return handler
