"""One stage over the network: ask clients, wait within a limit, take what is good, leave out who fails."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from flwr.app import Message

from mosaic_fl.engines.flower.asked import Asked
from mosaic_fl.engines.flower.client import LATER
from mosaic_fl.engines.flower.hub import Grid
from mosaic_fl.engines.flower.limits import MAX_ANSWER, Limits
from mosaic_fl.engines.flower.roll import Roll, Tell, answer_of
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.errors import MosaicError, UsageError

Value = TypeVar("Value")

RAISED = (1, 2, 7)  # Flower's codes for an app that cannot be loaded or has raised: asking again changes nothing
# seconds between the first two looks at what has come, and at most
SOON = 0.02
POLL = 0.5
LARGE = 2**24  # bytes of an answer, of which no copy is to linger


@dataclass(frozen=True)
class Left:
    """A client that a stage went on without, and why."""

    client: int
    stage: str
    reason: str


@dataclass
class Exchange:
    """Asks the members of `roll`; tells of every event and remembers who was left out of what.

    A client that sent something malformed is not asked again in this run. One that was silent is asked again; the next
    stage waits for it no longer than for one whose connection was lost, later ones not at all until it has answered.
    `now` and `sleep` are the clock.
    """

    grid: Grid
    roll: Roll
    limits: Limits
    tell: Tell
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    max_answer: int = MAX_ANSWER
    left: list[Left] = field(default_factory=list)
    began: float = 0.0
    barred: dict[int, str] = field(default_factory=dict)
    silent: dict[int, int] = field(default_factory=dict)
    """How many stages running a client has not answered."""
    unanswered: dict[str, int] = field(default_factory=dict)
    """Messages of earlier stages to whose clients no other is sent before they answer, or Flower gives them up."""

    def __post_init__(self) -> None:
        self.began = self.now()

    def gather(self) -> None:
        """Wait until all expected clients are there, or the limit for joining is over."""
        end = self.now() + self.limits.join
        everyone = list(range(self.roll.expected))
        self.tell("stage_started", stage="join", expected=everyone, limit=self.limits.join)
        self.roll.look()
        while len(self.roll.members) < self.roll.expected and self.now() < end:
            self.sleep(POLL)
            self.roll.look()
        for client in everyone:
            if client not in self.roll.members:
                self.leave(client, "join", f"it did not come within {self.limits.join:.0f} s")
        self.tell("stage_finished", stage="join", received=len(self.roll.members))

    def ask(
        self,
        stage: str,
        requests: Mapping[int, Request],
        limit: float,
        accept: Callable[[Answer], Value],
        least: int = 0,
    ) -> dict[int, Value]:
        """What `accept` makes of each client's answer, in the order of `requests`; of some clients there is none.

        `accept` raises UsageError for an answer that is not right. The caller needs `least` of them.
        """
        self.tell("stage_started", stage=stage, expected=list(requests), limit=limit)
        asked = Asked(self, stage, requests, limit, least)
        taken = dict[int, Value]()
        over = False
        pause = SOON
        while not over:
            self.roll.look()
            over = asked.over()  # before the last replies are pulled, so that none which came in time is lost
            if not over:
                asked.send()
            for client, reply in asked.replies():
                value = self._take(asked, client, reply, accept)
                if value is not None:
                    taken[client] = value
            over = over or not asked.open
            if not over:
                self.sleep(pause)
                pause = min(POLL, 2 * pause)
        self.unanswered |= asked.sent
        for client, reason in asked.missing().items():
            self.silent[client] = self.silent.get(client, 0) + 1
            self.leave(client, stage, reason)
        self.tell("stage_finished", stage=stage, received=len(taken))
        return {client: taken[client] for client in requests if client in taken}

    def leave(self, client: int, stage: str, reason: str) -> None:
        """The stage goes on without the client."""
        self.left.append(Left(client, stage, reason))
        self.tell("left_out", client, stage=stage, reason=reason)

    def _take(
        self, asked: "Asked", client: int, reply: Message | Exception, accept: Callable[[Answer], Value]
    ) -> Value | None:
        """The accepted value of a reply; None where there is none, which has been told."""
        if isinstance(reply, Message) and reply.has_error():
            if reply.error.code in RAISED:
                asked.give_up(client, f"its app failed (Flower's error {reply.error.code}): see its own log")
            return None  # else its process or its node died: it is asked again when its node is there
        try:
            answer = answer_of(reply)
            if len(answer.body) > LARGE:
                gc.collect()  # Flower leaves a second copy of it in a cycle
            self._check(answer, asked.requests[client])
            if answer.facts.get(LATER) is True:
                asked.later(client)
                return None
            if answer.reason:
                asked.give_up(client, answer.reason)
                return None
            value = accept(answer)
        except MosaicError as error:
            if not isinstance(error, UsageError):  # it cannot be kept here: that is not the client's fault
                raise
            self._refuse(asked, client, str(error))
            return None
        except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, RecursionError) as error:
            self._refuse(asked, client, f"it cannot be read ({type(error).__name__})")
            return None
        self.silent.pop(client, None)
        asked.open.discard(client)
        asked.answered += 1
        self.tell("received", client, stage=asked.stage, bytes=len(answer.body), seconds=answer.seconds)
        return value

    def _refuse(self, asked: "Asked", client: int, why: str) -> None:
        self.barred[client] = f"an answer of it was refused before: {why}"
        self.tell("refused", client, stage=asked.stage, reason=why)
        asked.give_up(client, f"its answer was refused: {why}")

    def _check(self, answer: Answer, request: Request) -> None:
        if answer.run != request.run:
            raise UsageError("it is of another run")
        if answer.request != request.digest or answer.client != request.client:
            raise UsageError("it answers another request")
        if len(answer.body) > self.max_answer:
            raise UsageError(f"it has {len(answer.body):,} bytes: at most {self.max_answer:,} are read")
