"""The members of a run: which of Flower's nodes is which client, and whether it is online."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from flwr.app import Message, MessageType

from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower.client import HELLO
from mosaic_fl.engines.flower.hub import Grid, nodes, pull, push
from mosaic_fl.engines.flower.signing import require_signature
from mosaic_fl.engines.flower.wire import Answer, Request, is_figure, pack_request, unpack_answer
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import MAX_COUNT
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.experts.reading import check_any_field
from mosaic_fl.release import release

HELLO_SECONDS = 120.0  # time for the answer to a greeting, before the next greeting
SKEW_SECONDS = 600.0  # by how much a client's clock may differ
AGAIN_SECONDS = 20.0  # pause before the next greeting of a node that answered with a passing failure
Tell = Callable[..., None]
"""(kind, client, **facts): see `watch`."""


class NotNowError(UsageError):
    """A reason to refuse a node that may pass, so the node gets another greeting."""


@dataclass
class Member:
    """A client that has joined, and its node. `online` is as of the last look, and has been so `since` then.

    `skew` is the difference of its clock to the server's in seconds, which messages' lifetimes must allow for.
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
    """The members of the run `run`, at most `expected` clients, as they come and go.

    `keys` binds each client's number to the public key of its first node (empty without authentication); a resumed run
    passes those of its earlier start. With `signers` each answer must be signed by its client. `now` gives seconds.
    """

    grid: Grid
    run: str
    expected: int
    tell: Tell
    now: Callable[[], float]
    keys: dict[int, str] = field(default_factory=dict)
    schema: Schema | None = None
    signers: Signers | None = None
    members: dict[int, Member] = field(default_factory=dict)
    _greetings: dict[str, tuple[int, str, float]] = field(default_factory=dict)  # message -> node, key, time
    _refusals: dict[int, float] = field(default_factory=dict)  # node -> time until which it gets no greeting

    def look(self) -> None:
        """Update the members from the online nodes and their answers, and greet new nodes. Does not wait."""
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
        # A node that went offline and returns may have been corrected meanwhile.
        self._refusals = {node: until for node, until in self._refusals.items() if node in online and until > now}
        self._read_answers()
        old = {member.node for member in self.members.values()} | {node for node, _, _ in self._greetings.values()}
        new = [node for node in online if node not in old | self._refusals.keys()]
        content = pack_request(Request(self.run, HELLO, -1))
        for node in new:
            message = Message(content, node, MessageType.QUERY, ttl=HELLO_SECONDS + 2 * SKEW_SECONDS)
            if name := push(self.grid, message):
                self._greetings[name] = (node, online[node], now)

    def _read_answers(self) -> None:
        """Admit or refuse the nodes that answered a greeting; drop greetings without an answer in time.

        Such an answer has no body.
        """
        for name, reply in pull(self.grid, list(self._greetings), 0):
            node, key, _ = self._greetings.pop(name)
            try:
                self._admit(answer_of(reply), node, key)
            except UsageError as error:
                passing = isinstance(error, NotNowError)
                self._refusals[node] = self.now() + AGAIN_SECONDS if passing else math.inf
                self.tell("refused", -1, node=str(node), reason=str(error))
            except Exception as error:  # a malformed answer must not end the run
                self._refusals[node] = math.inf
                self.tell("refused", -1, node=str(node), reason=f"its answer cannot be read ({type(error).__name__})")
        oldest = self.now() - HELLO_SECONDS
        self._greetings = {name: greeting for name, greeting in self._greetings.items() if greeting[2] > oldest}

    def _admit(self, answer: Answer, node: int, key: str) -> None:
        if answer.reason:
            raise NotNowError(answer.reason)
        match answer.facts:
            case {
                "mosaic_fl": str(theirs), "client": int(client), "architecture": str(architecture),
                "schema": schema_json, "samples": int(samples), "time": float() | int() as time,
            } if 0 <= samples <= MAX_COUNT and is_figure(time) and answer.run == self.run:  # fmt: skip
                schema = Schema.from_json(schema_json)
            case _:
                raise UsageError("its answer does not say who it is")
        require_signature(answer, client, self.signers)
        ours = release()
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
        check_any_field(architecture, schema)
        self.keys[client] = key
        self.members[client] = Member(client, node, key, architecture, schema, samples, skew, since=self.now())
        self.tell("joined", client, node=str(node), architecture=architecture, samples=samples)

    def agree(self) -> None:
        """Set the run's schema to that of most members (in a tie, of the lowest client), and refuse all others."""
        schemas = [member.schema for _, member in sorted(self.members.items())]
        self.schema = max(schemas, key=schemas.count)
        for client, member in list(self.members.items()):
            if member.schema != self.schema:
                reason = f"it has {member.schema.difference(self.schema)} as the others"
                self.tell("refused", client, node=str(member.node), reason=reason)
                self._refusals[member.node] = math.inf
                del self.members[client]
                self.keys.pop(client, None)  # so the run does not wait for it, and another site may take its number


def answer_of(reply: Message | Exception) -> Answer:
    """The answer in a reply; raises UsageError for anything else, and NotNowError for an error of Flower's."""
    try:
        if isinstance(reply, Exception):
            raise reply
        if reply.has_error():  # its text comes from the client's process and stays out of messages
            raise NotNowError(f"it failed before it could answer (Flower's error {reply.error.code})")
        return unpack_answer(reply.content)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"its answer cannot be read ({type(error).__name__})") from error
