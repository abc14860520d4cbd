"""One stage over the network: ask clients, wait within a limit, take what is good, leave out who fails."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flwr.app import Message, MessageType

from mosaic_fl.engines.flower.limits import Limits
from mosaic_fl.engines.flower.roll import Grid, Member, Roll, Tell
from mosaic_fl.engines.flower.wire import Answer, Request, pack_request, unpack_answer
from mosaic_fl.errors import UsageError

Value = TypeVar("Value")

RAISED = (1, 2, 7)  # Flower's codes for an app that cannot be loaded or has raised: asking again changes nothing
ATTEMPTS = 3  # of one client in one stage, where its process or its node died
POLL = 0.5  # seconds between two looks at what has come
MAX_ANSWER = 2**30  # bytes of an answer that are read


@dataclass(frozen=True)
class Left:
    """A client that a stage went on without, and why."""

    client: int
    stage: str
    reason: str


@dataclass
class Exchange:
    """Asks the members of `roll`; tells of every event and remembers who was left out of what.

    A client that sent something malformed is not asked again in this run. One that was silent is asked in the next
    stage, which does not wait for it until it has answered. `now` and `sleep` are the clock.
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
    _barred: dict[int, str] = field(default_factory=dict)
    _silent: set[int] = field(default_factory=set)

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
                self._leave(client, "join", f"it did not come within {self.limits.join:.0f} s")
        self.tell("stage_finished", stage="join", received=len(self.roll.members))

    def ask(
        self, stage: str, requests: Mapping[int, Request], limit: float, accept: Callable[[Answer], Value]
    ) -> dict[int, Value]:
        """What `accept` makes of each client's answer, in the order of `requests`; of some clients there is none.

        `accept` raises UsageError for an answer that is not right.
        """
        self.tell("stage_started", stage=stage, expected=list(requests), limit=limit)
        asked = _Stage(self, stage, requests, limit)
        taken: dict[int, Value] = {}
        while True:
            self.roll.look()
            asked.send()
            for client, reply in asked.replies():
                value = self._take(asked, client, reply, accept)
                if value is not None:
                    taken[client] = value
            if asked.over():
                break
            self.sleep(POLL)
        for client, reason in asked.missing().items():
            self._silent.add(client)
            self._leave(client, stage, reason)
        self.tell("stage_finished", stage=stage, received=len(taken))
        return {client: taken[client] for client in requests if client in taken}

    def _take(self, asked: "_Stage", client: int, reply: Message, accept: Callable[[Answer], Value]) -> Value | None:
        """The accepted value of a reply; None where there is none, which has been told."""
        if reply.has_error():
            if reply.error.code in RAISED:
                asked.give_up(client, f"its app failed (Flower's error {reply.error.code}): see its own log")
            else:
                asked.again(client)
            return None
        try:
            answer = self._checked(unpack_answer(reply.content), asked.requests[client])
            if answer.reason:
                asked.give_up(client, answer.reason)
                return None
            value = accept(answer)
        except UsageError as error:
            self._barred[client] = f"an answer of it was refused before: {error}"
            self.tell("refused", client, stage=asked.name, reason=str(error))
            asked.give_up(client, f"its answer was refused: {error}")
            return None
        self._silent.discard(client)
        asked.done(client)
        self.tell("received", client, stage=asked.name, bytes=len(answer.body), seconds=answer.seconds)
        return value

    def _checked(self, answer: Answer, request: Request) -> Answer:
        if answer.run != request.run:
            raise UsageError("it is of another run")
        if answer.request != request.digest or answer.client != request.client:
            raise UsageError("it answers another request")
        if len(answer.body) > self.max_answer:
            raise UsageError(f"it has {len(answer.body):,} bytes: at most {self.max_answer:,} are read")
        return answer

    def _leave(self, client: int, stage: str, reason: str) -> None:
        self.left.append(Left(client, stage, reason))
        self.tell("left_out", client, stage=stage, reason=reason)


@dataclass
class _Stage:
    """The state of one `ask`: who is still to be asked, whose answer is awaited, who is out."""

    exchange: Exchange
    name: str
    requests: Mapping[int, Request]
    limit: float
    end: float = 0.0
    open: set[int] = field(default_factory=set)
    sent: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.end = self.exchange.now() + self.limit
        self.open = set(self.requests)
        for client in sorted(self.open):
            if client in self.exchange._barred:
                self.give_up(client, self.exchange._barred[client])

    def send(self) -> None:
        """Ask every open client that is online and has no request under way."""
        under_way = set(self.sent.values())
        for client in sorted(self.open - under_way):
            member, left = self.exchange.roll.members.get(client), self.end - self.exchange.now()
            if member is None or not member.online or left <= 0:
                continue
            if self.attempts.get(client, 0) >= ATTEMPTS:
                self.give_up(client, f"its process died {ATTEMPTS} times at this")
                continue
            self.attempts[client] = self.attempts.get(client, 0) + 1
            self._push(client, member, left)

    def _push(self, client: int, member: Member, left: float) -> None:
        content: Any = pack_request(self.requests[client])
        message = Message(
            content, dst_node_id=member.node, message_type=MessageType.TRAIN, ttl=left, group_id=self.name
        )
        for sent in self.exchange.grid.push_messages([message]):
            if sent:
                self.sent[sent] = client
                self.exchange.tell("asked", client, stage=self.name)

    def replies(self) -> list[tuple[int, Message]]:
        """The replies that have come, each once, with their clients."""
        if not self.sent:
            return []
        came = []
        for reply in self.exchange.grid.pull_messages(list(self.sent)):
            client = self.sent.pop(reply.metadata.reply_to_message_id, None)
            if client is not None and client in self.open:
                came.append((client, reply))
        return sorted(came, key=lambda pair: pair[0])

    def done(self, client: int) -> None:
        self.open.discard(client)

    def again(self, client: int) -> None:
        """Its process or node died: it is asked again when its node is there."""

    def give_up(self, client: int, reason: str) -> None:
        self.open.discard(client)
        self.exchange._leave(client, self.name, reason)

    def over(self) -> bool:
        """Whether there is nobody to wait for, or no time."""
        now, members = self.exchange.now(), self.exchange.roll.members
        if now >= self.end:
            return True

        def awaited(client: int) -> bool:
            member = members.get(client)
            if client in self.exchange._silent:
                return False
            if member is None:  # who came in an earlier start of the run has the time for joining to come back
                return client in self.exchange.roll.keys and now - self.exchange.began < self.exchange.limits.join
            return member.online or now - member.since < self.exchange.limits.gone

        return not any(awaited(client) for client in self.open)

    def missing(self) -> dict[int, str]:
        """Why each client that is still open gave no answer."""
        members, reasons = self.exchange.roll.members, {}
        for client in sorted(self.open):
            member = members.get(client)
            if member is None:
                reasons[client] = "it never came"
            elif not member.online:
                reasons[client] = "its connection was lost"
            elif client in self.exchange._silent:
                reasons[client] = "it is still silent"
            else:
                reasons[client] = f"no answer within {self.limit:.0f} s"
        return reasons
