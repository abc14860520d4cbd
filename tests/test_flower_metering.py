"""A reply is refused while it comes: before more than the limit is in the memory of the server's app."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

pytest.importorskip("flwr")

from flwr.app import Message, RecordDict
from flwr.common.serde import message_to_proto
from flwr.proto.message_pb2 import ObjectTree, PullObjectResponse
from flwr.proto.runtime_pb2 import PullAppMessagesResponse
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid.http_grid import HttpGrid

from mosaic_fl.engines.flower.hub import pull
from mosaic_fl.engines.flower.metering import MARGIN, PIECE, Meter
from mosaic_fl.engines.flower.wire import Answer, pack_answer, unpack_answer
from mosaic_fl.errors import UsageError

MB = 2**20
DIGEST = "0" * 64


class Hub:
    """The hub's side of Flower's own grid: it has one reply, as objects, and counts what it gives of them."""

    def __init__(self, reply: Message, objects: dict[str, bytes]) -> None:
        self.reply, self.objects, self.given = reply, objects, 0

    def PullMessages(self, request: Any) -> Any:  # noqa: N802
        tree = ObjectTree(object_id=self.reply.object_id, children=get_object_tree(self.reply).children)
        return PullAppMessagesResponse(messages_list=[message_to_proto(self.reply)], message_object_trees=[tree])

    def PullObject(self, request: Any) -> PullObjectResponse:  # noqa: N802
        content = self.objects[request.object_id]
        self.given += len(content)
        return PullObjectResponse(object_found=True, object_available=True, object_content=content)

    def ConfirmMessageReceived(self, request: Any) -> None:  # noqa: N802
        """Nothing is kept here."""


def grid_of(content: RecordDict, changes: Iterable[tuple[str, bytes]] = ()) -> tuple[HttpGrid, Hub]:
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 7
    reply = Message(content, dst_node_id=1, message_type="query", ttl=60.0)
    objects = {name: one.deflate() for name, one in get_all_nested_objects(reply).items()}
    reply.metadata.__dict__["_message_id"] = reply.object_id
    grid = HttpGrid(token="x")  # noqa: S106
    grid._run = Run.create_empty(1)
    hub = Hub(reply, objects | dict(changes))
    grid._client = hub  # type: ignore[assignment]
    return grid, hub


def answer(body: bytes) -> RecordDict:
    return pack_answer(Answer("a run", DIGEST, 3, body=body))


def test_an_answer_within_the_limit_comes_whole() -> None:
    body = bytes(range(256)) * (11 * MB // 256)  # three pieces of Flower's
    grid, _ = grid_of(answer(body))
    ((name, reply),) = pull(grid, ["m"], len(body))
    assert name == "m"
    assert isinstance(reply, Message)
    assert unpack_answer(reply.content).body == body


def test_equal_pieces_of_an_answer_count_as_often_as_they_are_there() -> None:
    body = bytes(4 * PIECE)
    grid, hub = grid_of(answer(body))
    ((_, reply),) = pull(grid, ["m"], len(body))
    assert isinstance(reply, Message)
    assert hub.given < 2 * PIECE


def test_of_a_larger_answer_no_more_than_the_limit_is_fetched() -> None:
    body = b"".join(bytes([k]) * PIECE for k in range(12))
    grid, hub = grid_of(answer(body))
    ((_, error),) = pull(grid, ["m"], 10 * MB)
    assert isinstance(error, UsageError)
    assert "at most 10,485,760 bytes are read; --max-answer MB at the server raises this" in str(error)
    assert hub.given <= 10 * MB + MARGIN + 3 * PIECE < len(body)  # as much as comes at once
    assert "PullObject" not in vars(hub)  # the next reply has a count of its own


def test_one_piece_that_is_named_often_is_no_bomb() -> None:
    """Flower would make 52 GB of a message of 5 MB and 40 kB."""
    content = answer(bytes(PIECE))
    array = content["body"]["body"]
    named = {"dtype": "uint8", "shape": [1], "stype": "x", "arraychunk_ids": [0] * 10_000}
    text = json.dumps(named).encode()
    (chunk,) = array.children
    bomb = f"Array {chunk} {len(text)}".encode() + b"\0" + text
    grid, _ = grid_of(content, [(array.object_id, bomb)])
    ((_, error),) = pull(grid, ["m"], 2**30)
    assert isinstance(error, UsageError)
    assert "10,000 pieces of up to 5,242,880 bytes: at most 1,073,741,824 bytes are read" in str(error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"ArrayChunk  9\0" + bytes(PIECE + 2**21), "a piece of 7,340,046 bytes"),
        (b"Array  9\0" + bytes(2**21), "an array with 2,097,161 bytes of names"),
    ],
)
def test_an_object_of_another_size_than_flowers_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Meter(2**33).count(content)
