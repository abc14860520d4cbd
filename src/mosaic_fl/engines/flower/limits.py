"""The server's limits: how long it waits for clients, how few are enough, and how large an answer may be."""

from dataclasses import dataclass, fields
from typing import Any

from mosaic_fl.errors import UsageError, unknown

DAY = 86_400.0
MAX_ANSWER = 2**30
"""Default of `--max-answer`: the most bytes of a client's answer."""


@dataclass(frozen=True)
class Limits:
    """Seconds for each kind of waiting, and the least number of clients that a stage needs.

    `join` is the time until all expected clients have joined; `contribute`, `answer` (a black box, which may have to
    train its model first), `fit` and `evaluate` are for all answers of such a stage; `gone` is how long a stage still
    waits for a client whose connection was lost. `clients` is the least number of answers to `contribute` and to a
    round's `fit`, or all of them where fewer clients take part.
    """

    join: float = 600.0
    contribute: float = 4 * 3600.0
    answer: float = 4 * 3600.0
    fit: float = 3600.0
    evaluate: float = 600.0
    gone: float = 180.0
    clients: int = 1

    def __post_init__(self) -> None:
        for name in TIMES:
            if not 0 < getattr(self, name) <= 30 * DAY:
                raise UsageError(f"the limit {name} is {getattr(self, name)} s: say more than 0 and at most 30 days")
        if self.clients < 1:
            raise UsageError(f"--min-clients {self.clients}: at least one client is needed")

    @classmethod
    def of(cls, seconds: dict[str, Any], clients: int = 1) -> "Limits":
        """From seconds by name; raises UsageError for an unknown name and a value that is no number."""
        for name, value in seconds.items():
            if name not in TIMES:
                raise unknown("limit", name, TIMES)
            if type(value) not in (int, float):
                raise UsageError(f"the limit {name} is {value!r}: say a number of seconds")
        return cls(**{name: float(value) for name, value in seconds.items()}, clients=clients)


TIMES = tuple(field.name for field in fields(Limits) if field.name != "clients")
"""The names of the limits in seconds."""


def read_limits(texts: list[str] | None) -> dict[str, float]:
    """["join=60"] -> {"join": 60.0}: seconds by stage; raises UsageError."""
    limits = dict[str, float]()
    for text in texts or []:
        name, _, value = text.partition("=")
        try:
            seconds = float(value)
        except ValueError:
            raise UsageError(f"--limit {text!r}: write STAGE=SECONDS, as fit=600") from None
        if name in limits:
            raise UsageError(f"--limit {name} is given twice, as {limits[name]:g} and {seconds:g}: it takes one value")
        limits[name] = seconds
    Limits.of(dict(limits))
    return limits
