"""A stage over the network: send requests, wait within a limit, accept good answers, leave out clients that fail."""

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from flwr.app import Message

from mosaic_fl.engines.flower.client import LATER
from mosaic_fl.engines.flower.dispatch import Dispatch
from mosaic_fl.engines.flower.hub import Grid
from mosaic_fl.engines.flower.limits import MAX_ANSWER, Limits
from mosaic_fl.engines.flower.metering import WAY_OUT
from mosaic_fl.engines.flower.roll import Roll, Tell, answer_of
from mosaic_fl.engines.flower.signing import require_signature
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.errors import MosaicError, UsageError

Value = TypeVar("Value")

RAISED = (1, 2, 7)  # Flower's codes for an app that fails to load or raises: another request would fail as well
SOON = 0.02  # seconds between the first two looks for replies
POLL = 0.5  # and the most between any two
LARGE = 2**24  # bytes of an answer whose copies must be freed at once


@dataclass(frozen=True)
class Absence:
    """A client that a stage left out, and why."""

    client: int
    stage: str
    reason: str


@dataclass
class Exchange:
    """Sends requests to the members of `roll`, reports every event to `tell`, and collects the `absences`.

    A client with a malformed answer gets no more requests in this run; `bans` has the reason. A silent client gets
    further requests, but the next stage waits for it only as long as for a client whose connection was lost, and later
    stages not at all until it answers. `now` and `sleep` are the clock, in seconds.
    """

    grid: Grid
    roll: Roll
    limits: Limits
    tell: Tell
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    max_answer: int = MAX_ANSWER
    absences: list[Absence] = field(default_factory=list)
    start: float = 0.0
    bans: dict[int, str] = field(default_factory=dict)
    silences: dict[int, int] = field(default_factory=dict)
    """By client: how many stages in a row it has not answered."""
    old_messages: dict[str, int] = field(default_factory=dict)
    """Messages of earlier stages without a reply, by client. The client gets no other one before Flower drops it."""

    def __post_init__(self) -> None:
        self.start = self.now()

    def gather(self) -> None:
        """Wait until all expected clients have joined, or the time for joining is over."""
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
        """The value of `accept` for each client's answer, in the order of `requests`, of the clients that answer.

        `accept` raises UsageError for a wrong answer. The caller needs at least `least` answers.
        """
        self.tell("stage_started", stage=stage, expected=list(requests), limit=limit)
        dispatch = Dispatch(self, stage, requests, limit, least)
        values = dict[int, Value]()
        over = False
        pause = SOON
        while not over:
            self.roll.look()
            over = dispatch.over()  # before the last look for replies, so that a reply in time is not lost
            if not over:
                dispatch.send()
            for client, reply in dispatch.replies():
                value = self._take(dispatch, client, reply, accept)
                if value is not None:
                    values[client] = value
            over = over or not dispatch.open
            if not over:
                self.sleep(pause)
                pause = min(POLL, 2 * pause)
        self.old_messages |= dispatch.messages
        for client, reason in dispatch.absences().items():
            self.silences[client] = self.silences.get(client, 0) + 1
            self.leave(client, stage, reason)
        self.tell("stage_finished", stage=stage, received=len(values))
        return {client: values[client] for client in requests if client in values}

    def leave(self, client: int, stage: str, reason: str) -> None:
        """Leave the client out of the stage."""
        self.absences.append(Absence(client, stage, reason))
        self.tell("left_out", client, stage=stage, reason=reason)

    def _take(
        self, dispatch: Dispatch, client: int, reply: Message | Exception, accept: Callable[[Answer], Value]
    ) -> Value | None:
        """The accepted value of a reply, or None where it has none; then the event has been told."""
        if isinstance(reply, Message) and reply.has_error():
            if reply.error.code in RAISED:
                dispatch.give_up(client, f"its app failed (Flower's error {reply.error.code}): see its own log")
            return None  # else its process or its node died: its next request goes out when its node is back
        try:
            answer = answer_of(reply)
            if len(answer.body) > LARGE:
                gc.collect()  # Flower leaves a second copy of it in a cycle
            self._check(answer, dispatch.requests[client])
            if answer.facts.get(LATER) is True:
                dispatch.later(client)
                return None
            if answer.reason:
                dispatch.give_up(client, answer.reason)
                return None
            value = accept(answer)
        except MosaicError as error:
            if not isinstance(error, UsageError):  # this machine cannot store it, which is not the client's fault
                raise
            self._refuse(dispatch, client, str(error))
            return None
        except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError, RecursionError) as error:
            self._refuse(dispatch, client, f"it cannot be read ({type(error).__name__})")
            return None
        self.silences.pop(client, None)
        dispatch.open.discard(client)
        dispatch.answers += 1
        self.tell("received", client, stage=dispatch.stage, bytes=len(answer.body), seconds=answer.seconds)
        return value

    def _refuse(self, dispatch: Dispatch, client: int, reason: str) -> None:
        self.bans[client] = f"an answer of it was refused before: {reason}"
        self.tell("refused", client, stage=dispatch.stage, reason=reason)
        dispatch.give_up(client, f"its answer was refused: {reason}")

    def _check(self, answer: Answer, request: Request) -> None:
        if answer.run != request.run:
            raise UsageError("it is of another run")
        if answer.request != request.digest or answer.client != request.client:
            raise UsageError("it answers another request")
        if not answer.reason or answer.facts:  # a reason alone brings nothing: its sender may have no key at hand
            require_signature(answer, request.client, self.roll.signers)
        if len(answer.body) > self.max_answer:
            raise UsageError(f"it has {len(answer.body):,} bytes: at most {self.max_answer:,} are read; {WAY_OUT}")
