"""A grid in one process: real requests through the real client app, a clock of its own, and faults on demand."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from mosaic_fl.client.contribute import Site
from mosaic_fl.engines.flower.app import make_app
from mosaic_fl.engines.flower.client import HELLO, Desk
from mosaic_fl.engines.flower.wire import unpack_request
from mosaic_fl.storage.keys import PrivateKey

Fault = Callable[["Node", Message, Message], Message | Error | float | None]
"""(node, request, reply) -> another reply, an error, seconds until the reply, or None for no reply at all."""


@dataclass
class Node:
    """A SuperNode: `online` from `joins` on; `fault` is what happens to replies of the tasks that it names."""

    client: int
    site: Site
    folder: Path | None = None
    node_id: int = 0
    joins: float = 0.0
    faults: dict[str, Fault] = field(default_factory=dict)
    dies: dict[str, float] = field(default_factory=dict)  # task -> seconds until it is back, once
    away_until: float = 0.0
    public_key: bytes = b""
    signer: PrivateKey | None = None
    asked: list[str] = field(default_factory=list)


class InProcessGrid:
    """Flower's grid over `nodes`. Time is what `sleep` makes of it."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = list(nodes)
        for index, node in enumerate(self.nodes):
            node.node_id = node.node_id or 1000 + index
        self.time, self._count = 0.0, 0
        self._ready: dict[str, tuple[float, Message]] = {}
        self.on_sleep: Callable[[], None] = lambda: None
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.on_sleep()

    def get_nodes(self) -> list[Any]:
        there = [n for n in self.nodes if n.joins <= self.time and n.away_until <= self.time]
        return [SimpleNamespace(node_id=n.node_id, public_key=n.public_key) for n in there]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            self._count += 1
            name = f"message-{self._count}"
            message.metadata.__dict__["_message_id"] = name
            node = next(n for n in self.nodes if n.node_id == message.metadata.dst_node_id)
            self._deliver(node, name, message)
            ids.append(name)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        wanted = [name for name in message_ids if name in self._ready and self._ready[name][0] <= self.time]
        return [self._ready.pop(name)[1] for name in wanted]

    def _deliver(self, node: Node, name: str, message: Message) -> None:
        request = unpack_request(message.content)
        node.asked.append(request.task)
        if request.task in node.dies:
            node.away_until = self.time + node.dies.pop(request.task)
            self._ready[name] = (self.time + 1, Message(Error(5), reply_to=message))
            return
        app = make_app(
            lambda _: Desk(node.client, lambda: node.site, torch.device("cpu"), node.folder, signer=node.signer)
        )
        context = Context(1, node.node_id, {}, RecordDict(), {})
        fault = node.faults.get(request.task)
        reply: Any = app(message, context) if fault is None or request.task == HELLO else None
        delay = 1.0
        if fault is not None:
            reply = reply or app(message, context)
            made = fault(node, message, reply)
            if made is None or isinstance(made, float):
                delay = made or math.inf
            else:
                reply = Message(made, reply_to=message) if isinstance(made, Error) else made
        if delay > message.metadata.ttl:  # Flower drops what comes too late, and says so when it is asked
            delay, reply = message.metadata.ttl, Message(Error(3), reply_to=message)
        self._ready[name] = (self.time + delay, reply)


def settled(tells: list[tuple[str, int, Mapping[str, Any]]]) -> Callable[..., None]:
    """A `tell` that keeps what it is told."""

    def tell(kind: str, client: int = -1, **facts: Any) -> None:
        tells.append((kind, client, facts))

    return tell
