"""The requests of one stage: which are to be sent, which await an answer, and which clients the stage gives up."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from flwr.app import Message, MessageType

from mosaic_fl.engines.flower.hub import pull, push
from mosaic_fl.engines.flower.roll import Member
from mosaic_fl.engines.flower.wire import Request, pack_request

if TYPE_CHECKING:
    from mosaic_fl.engines.flower.exchange import Exchange

ATTEMPTS = 3  # at one client in one stage, if its process or its node dies
LATER_SECONDS = 15.0  # pause before the next request to a client that is at work on something else
AFTERLIFE = 600.0  # seconds after a stage in which a late answer still shows that its client works again


@dataclass
class Dispatch:
    """The `requests` of `exchange` in `stage`, by client. The clients in `open` have not answered yet.

    `limit` is the stage's time in seconds. Until `least` clients have answered, the stage waits for all that are
    online, also for those that did not answer in earlier stages. `messages` has the client of each message without a
    reply, `attempts` the number of messages to each client, and `not_before` when a client may get the next one.
    """

    exchange: "Exchange"
    stage: str
    requests: Mapping[int, Request]
    limit: float
    least: int = 0
    answers: int = 0
    start: float = 0.0
    open: set[int] = field(default_factory=set)
    messages: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    not_before: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = self.exchange.now()
        self.open = set(self.requests)
        for client in sorted(self.open & self.exchange.bans.keys()):
            self.give_up(client, self.exchange.bans[client])

    def send(self) -> None:
        """Send the request to every open client that is online and has no unanswered message."""
        now = self.exchange.now()
        at_work = {*self.messages.values(), *self.exchange.old_messages.values()}
        for client in sorted(self.open - at_work):
            member = self.exchange.roll.members.get(client)
            if member is None or not member.online or now < self.not_before.get(client, now):
                continue
            if self.attempts.get(client, 0) >= ATTEMPTS:
                self.give_up(client, f"its process died {ATTEMPTS} times at this")
                continue
            self._push(client, member, self.start + self.limit - now)

    def replies(self) -> Iterator[tuple[int, Message | Exception]]:
        """The new replies with their clients, one at a time, in the order of the clients.

        Replies to earlier stages are dropped as too late, but they end their clients' silence.
        """
        grid = self.exchange.grid
        most = self.exchange.max_answer
        for name, reply in pull(grid, list(self.exchange.old_messages), most):
            client = self.exchange.old_messages.pop(name)
            if isinstance(reply, Message) and not reply.has_error():
                self.exchange.silences.pop(client, None)
                reply.content.clear()  # it may be large
        for name, reply in pull(grid, sorted(self.messages, key=lambda name: self.messages[name]), most):
            client = self.messages.pop(name)
            if client in self.open:
                yield client, reply

    def later(self, client: int) -> None:
        """Send the next request later, as the client is at work on something else."""
        self.not_before[client] = self.exchange.now() + LATER_SECONDS
        self.attempts[client] = 0

    def give_up(self, client: int, reason: str) -> None:
        """Go on without the client."""
        self.open.discard(client)
        self.exchange.leave(client, self.stage, reason)

    def over(self) -> bool:
        """Whether the stage waits for no more clients, or its time is over."""
        return self.exchange.now() >= self.start + self.limit or not any(map(self._may_answer, self.open))

    def _may_answer(self, client: int) -> bool:
        """Whether the stage still waits for the client."""
        exchange = self.exchange
        member = exchange.roll.members.get(client)
        now = exchange.now()
        if member is None:  # a client from before a restart has the time for joining to come back
            return client in exchange.roll.keys and now - exchange.start < exchange.limits.join
        if not member.online:
            return now - member.since < exchange.limits.gone
        if self.answers < self.least:
            return True
        silent_stages = exchange.silences.get(client, 0)
        return not silent_stages or (silent_stages == 1 and now - self.start < exchange.limits.gone)

    def absences(self) -> dict[int, str]:
        """The open clients, and why each has not answered."""
        members = self.exchange.roll.members
        reasons = {}
        for client in sorted(self.open):
            member = members.get(client)
            if member is None:
                reasons[client] = "it never came"
            elif not member.online:
                reasons[client] = "its connection was lost"
            elif client in self.exchange.silences:
                reasons[client] = "it is still silent"
            else:
                reasons[client] = f"no answer within {self.limit:.0f} s"
        return reasons

    def _push(self, client: int, member: Member, seconds: float) -> None:
        """Send the request, whose stage ends in so many `seconds`."""
        request = replace(self.requests[client], serial=time.time_ns())
        lifetime = seconds + AFTERLIFE + 2 * abs(member.skew)
        message = Message(pack_request(request), member.node, MessageType.TRAIN, ttl=lifetime, group_id=self.stage)
        if name := push(self.exchange.grid, message):
            self.messages[name] = client
            self.attempts[client] = self.attempts.get(client, 0) + 1
            self.exchange.tell("asked", client, stage=self.stage)
