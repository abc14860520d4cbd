"""An event of a run: a value, and a line of JSON in `events.jsonl`. All kinds of events and their facts are here."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from mosaic_fl.storage.files import read_if_there

Kind = Literal[
    "run_started",  # facts: expected (clients), pid, host
    "stage_started",  # facts: stage, expected (clients; empty for the server's own work), limit (seconds, 0: no limit)
    "stage_progress",  # facts: stage, done, total
    "stage_finished",  # facts: stage, received (a count)
    "joined",  # facts: node, architecture, samples
    "asked",  # facts: stage
    "received",  # facts: stage, bytes, seconds; kept = true where a resumed run read it from its folder
    "refused",  # facts: stage, reason
    "left_out",  # facts: stage, reason
    "gone",  # facts: reason
    "returned",
    "run_finished",
    "run_failed",  # facts: reason
]
KINDS: frozenset[str] = frozenset(get_args(Kind))
Fact = str | int | float | bool | list[int] | None
LONGEST_TEXT = 500  # characters: reasons and names may come from a client
MAX_SECONDS = 2.5e11  # the year 9892: later times overflow a date
MAX_EVENTS = 2**30  # bytes of an `events.jsonl`


@dataclass(frozen=True)
class Event:
    """What happened at `time` (UTC, in seconds since 1970) to `client`, or to the run itself (−1)."""

    time: float
    kind: Kind
    client: int = -1
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line of JSON, without the line break."""
        return json.dumps(
            {"time": self.time, "kind": self.kind, "client": self.client, "facts": dict(self.facts)},
            ensure_ascii=False,
            allow_nan=False,
        )

    def text(self, name: str) -> str:
        """The fact `name` where it is text, or ""."""
        value = self.facts.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> float:
        """The fact `name` where it is a number that a float can hold, or 0."""
        value = self.facts.get(name)
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 2**53 else 0

    def count(self, name: str) -> int:
        """The fact `name` as a whole number, or 0."""
        return int(self.number(name))

    def clients(self, name: str) -> tuple[int, ...]:
        """The fact `name` where it is a list of clients, sorted and each once, or ()."""
        value = self.facts.get(name)
        return tuple(sorted({int(k) for k in value})) if isinstance(value, list) else ()


def parse(line: str | bytes) -> Event | None:
    """The event of one line. None for a torn line, or a kind of event of another version."""
    try:
        content = json.loads(line)
        kind = content["kind"]
        facts = content["facts"]
        if kind not in KINDS or not isinstance(facts, dict):
            return None
        facts = {str(name): clean(value) for name, value in facts.items()}
        time = float(content["time"])
        client = int(content["client"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Event(time, cast("Kind", kind), client, facts) if abs(time) <= MAX_SECONDS else None


def read_events(path: Path) -> list[Event]:
    """All events of an `events.jsonl`. Lines that are not events are ignored; a missing file gives an empty list.

    Raises UsageError where the file cannot be read.
    """
    lines = (read_if_there(path, MAX_EVENTS) or b"").splitlines()
    return [event for event in map(parse, lines) if event is not None]


def clean(value: Any) -> Fact:
    """`value` as a fact that every JSON reader and every terminal can take.

    Text becomes one printable line of at most 500 characters, since it may come from a client. A number that is not
    finite becomes None. A sequence of ints becomes a list, a set a sorted one. Anything else becomes text.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple, set, frozenset, range)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else list(value)
        if all(isinstance(item, int) for item in items):
            return items
    flat = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(flat.split())[:LONGEST_TEXT]
