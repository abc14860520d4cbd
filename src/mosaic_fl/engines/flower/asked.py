"""The state of one stage that asks clients: who is still to be asked, whose answer is awaited, who is out."""

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

ATTEMPTS = 3  # at one client in one stage, where its process or its node dies
LATER_SECONDS = 15.0  # before a client that is at work on something else is asked again
AFTERLIFE = 600.0  # seconds after a stage in which a late answer to it still shows that its client works again


@dataclass
class Asked:
    """What `exchange` has asked in `stage`: `requests` by client, of whom those in `open` have not yet answered.

    Until `least` have answered, the stage waits for everybody who is online, however silent.
    """

    exchange: "Exchange"
    stage: str
    requests: Mapping[int, Request]
    limit: float
    least: int = 0
    answered: int = 0
    began: float = 0.0
    open: set[int] = field(default_factory=set)
    sent: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    not_before: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.began = self.exchange.now()
        self.open = set(self.requests)
        for client in sorted(self.open & self.exchange.barred.keys()):
            self.give_up(client, self.exchange.barred[client])

    def send(self) -> None:
        """Ask every open client that is online and has no message that it has not answered."""
        now = self.exchange.now()
        waiting = {*self.sent.values(), *self.exchange.unanswered.values()}
        for client in sorted(self.open - waiting):
            member = self.exchange.roll.members.get(client)
            if member is None or not member.online or now < self.not_before.get(client, now):
                continue
            if self.attempts.get(client, 0) >= ATTEMPTS:
                self.give_up(client, f"its process died {ATTEMPTS} times at this")
                continue
            self._push(client, member, self.began + self.limit - now)

    def replies(self) -> Iterator[tuple[int, Message | Exception]]:
        """The replies that have come, each once and one at a time, with their clients, in the clients' order.

        Those to earlier stages are too late.

        But a client that has answered at last is not silent any more.
        """
        for name, reply in pull(self.exchange.grid, list(self.exchange.unanswered)):
            client = self.exchange.unanswered.pop(name)
            if isinstance(reply, Message) and not reply.has_error():
                self.exchange.silent.pop(client, None)
                reply.content.clear()  # it may be large
        for name, reply in pull(self.exchange.grid, sorted(self.sent, key=lambda name: self.sent[name])):
            client = self.sent.pop(name)
            if client in self.open:
                yield client, reply

    def later(self, client: int) -> None:
        """It is at work on something else."""
        self.not_before[client] = self.exchange.now() + LATER_SECONDS
        self.attempts[client] = 0

    def give_up(self, client: int, reason: str) -> None:
        """Go on without it."""
        self.open.discard(client)
        self.exchange.leave(client, self.stage, reason)

    def over(self) -> bool:
        """Whether there is nobody to wait for, or no time."""
        return self.exchange.now() >= self.began + self.limit or not any(map(self._awaited, self.open))

    def _awaited(self, client: int) -> bool:
        exchange = self.exchange
        member = self.exchange.roll.members.get(client)
        now = self.exchange.now()
        if member is None:  # who came in an earlier start of the run has the time for joining to come back
            return client in exchange.roll.keys and now - exchange.began < exchange.limits.join
        if not member.online:
            return now - member.since < exchange.limits.gone
        silent = exchange.silent.get(client, 0)
        if self.answered < self.least:
            return True
        return not silent or (silent == 1 and now - self.began < exchange.limits.gone)

    def missing(self) -> dict[int, str]:
        """Why each client that is still open gave no answer."""
        members = self.exchange.roll.members
        reasons = {}
        for client in sorted(self.open):
            member = members.get(client)
            if member is None:
                reasons[client] = "it never came"
            elif not member.online:
                reasons[client] = "its connection was lost"
            elif client in self.exchange.silent:
                reasons[client] = "it is still silent"
            else:
                reasons[client] = f"no answer within {self.limit:.0f} s"
        return reasons

    def _push(self, client: int, member: Member, left: float) -> None:
        request = replace(self.requests[client], serial=time.time_ns())
        lifetime = left + AFTERLIFE + 2 * abs(member.skew)
        message = Message(pack_request(request), member.node, MessageType.TRAIN, ttl=lifetime, group_id=self.stage)
        if name := push(self.exchange.grid, message):
            self.sent[name] = client
            self.attempts[client] = self.attempts.get(client, 0) + 1
            self.exchange.tell("asked", client, stage=self.stage)
