"""Who is there: which of Flower's nodes speaks for which client."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

from flwr.app import Message, MessageType

from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower.client import HELLO
from mosaic_fl.engines.flower.hub import Grid, nodes, pull, push
from mosaic_fl.engines.flower.wire import Answer, Request, is_figure, pack_request, unpack_answer
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import MAX_COUNT
from mosaic_fl.experts.naming import check

HELLO_SECONDS = 120.0  # for an answer to a hello, before it is said again
SKEW_SECONDS = 600.0  # by how much a client's clock may differ
AGAIN_SECONDS = 20.0  # before a node whose hello failed is greeted again
Tell = Callable[..., None]
"""(kind, client, **facts): see `watch`."""


class NotNowError(UsageError):
    """What keeps a node out may pass: it is greeted again."""


@dataclass
class Member:
    """A client that has said who it is, and by which node; `online` as of the last look, `since` that changed.

    `skew` is by how many seconds its clock differs from ours, of which Flower's times of life know nothing.
    """

    client: int
    node: int
    key: str
    architecture: str
    schema: Schema
    samples: int
    skew: float = 0.0
    online: bool = True
    since: float = 0.0


@dataclass
class Roll:
    """The members of run `run`, of at most `expected` clients, as they come and go.

    `keys` binds a client's number to the public key that first spoke for it (empty without authentication): it may
    be given from an earlier start of the run. `now` is the time in seconds.
    """

    grid: Grid
    run: str
    expected: int
    tell: Tell
    now: Callable[[], float]
    keys: dict[int, str] = field(default_factory=dict)
    schema: Schema | None = None
    members: dict[int, Member] = field(default_factory=dict)
    _greeted: dict[str, tuple[int, str, float]] = field(default_factory=dict)  # message -> node, key, when
    _refused: dict[int, float] = field(default_factory=dict)  # node -> until when

    def look(self) -> None:
        """Take note of who has come, gone and answered, and greet who is new; does not wait."""
        now = self.now()
        online = nodes(self.grid)
        if online is None:
            return
        for member in self.members.values():
            if member.online != (member.node in online):
                member.online = member.node in online
                member.since = now
                if member.online:
                    self.tell("returned", member.client)
                else:
                    self.tell("gone", member.client, reason="its connection was lost")
        # Who left and comes back may have been put right.
        self._refused = {node: until for node, until in self._refused.items() if node in online and until > now}
        self._hear()
        known = {m.node for m in self.members.values()} | {node for node, _, _ in self._greeted.values()}
        new = [node for node in online if node not in known | self._refused.keys()]
        content = pack_request(Request(self.run, HELLO, -1))
        for node in new:
            message = Message(content, node, MessageType.QUERY, ttl=HELLO_SECONDS + 2 * SKEW_SECONDS)
            if sent := push(self.grid, message):
                self._greeted[sent] = (node, online[node], now)

    def _hear(self) -> None:
        """Take in the answers to greetings; forget those that nobody answered."""
        for sent, reply in pull(self.grid, list(self._greeted)):
            node, key, _ = self._greeted.pop(sent)
            try:
                self._admit(answer_of(reply), node, key)
            except UsageError as error:
                passing = isinstance(error, NotNowError)
                self._refused[node] = self.now() + AGAIN_SECONDS if passing else math.inf
                self.tell("refused", -1, node=str(node), reason=str(error))
            except Exception as error:  # whatever a node says of itself, it ends nobody's run but its own
                self._refused[node] = math.inf
                self.tell("refused", -1, node=str(node), reason=f"its answer cannot be read ({type(error).__name__})")
        late = self.now() - HELLO_SECONDS
        self._greeted = {sent: about for sent, about in self._greeted.items() if about[2] > late}

    def _admit(self, answer: Answer, node: int, key: str) -> None:
        if answer.reason:
            raise NotNowError(answer.reason)
        match answer.facts:
            case {
                "mosaic_fl": str(theirs), "client": int(client), "architecture": str(architecture),
                "schema": schema_json, "samples": int(samples), "time": float() | int() as time,
            } if 0 < samples <= MAX_COUNT and is_figure(time) and answer.run == self.run:  # fmt: skip
                schema = Schema.from_json(schema_json)
            case _:
                raise UsageError("its answer does not say who it is")
        ours = version("mosaic-fl")
        skew = time - datetime.now(UTC).timestamp()
        if theirs != ours:
            raise UsageError(f"client {client} has mosaic-fl {theirs[:20]}, this server {ours}: install the same")
        if abs(skew) > SKEW_SECONDS:
            raise UsageError(f"the clock of client {client} differs by {skew / 60:+.0f} minutes: set it (NTP)")
        if not 0 <= client < self.expected:
            raise UsageError(f"client {client}: this run has clients 0 to {self.expected - 1}; correct its site file")
        if self.keys.get(client, key) != key:
            raise UsageError(f"client {client} has another key than when it first came: one number a site")
        before = self.members.get(client)
        if before is not None and before.online and before.node != node:
            raise NotNowError(f"client {client} is here already: two sites have this number; correct one site file")
        if self.schema is not None and schema != self.schema:
            raise UsageError(f"client {client} has {schema.difference(self.schema)} as the others")
        check(architecture, schema)
        self.keys[client] = key
        self.members[client] = Member(client, node, key, architecture, schema, samples, skew, since=self.now())
        self.tell("joined", client, node=str(node), architecture=architecture, samples=samples)

    def agree(self) -> None:
        """Fix the schema as the one that most members have (of equals, the least client's); the others are refused."""
        schemas = [member.schema for _, member in sorted(self.members.items())]
        self.schema = max(schemas, key=schemas.count)
        for client, member in list(self.members.items()):
            if member.schema != self.schema:
                reason = f"it has {member.schema.difference(self.schema)} as the others"
                self.tell("refused", client, node=str(member.node), reason=reason)
                self._refused[member.node] = math.inf
                del self.members[client]
                self.keys.pop(client, None)  # nobody waits for it, and another site may have its number


def answer_of(reply: Message | Exception) -> Answer:
    """What a reply says; raises UsageError for anything that is no answer, NotNowError where Flower lost it."""
    try:
        if isinstance(reply, Exception):
            raise reply
        if reply.has_error():  # its text comes from the client's process, and is not shown
            raise NotNowError(f"it failed before it could answer (Flower's error {reply.error.code})")
        return unpack_answer(reply.content)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"its answer cannot be read ({type(error).__name__})") from error
