"""Calls from the server's app to Flower's SuperLink (the hub), which may be busy or out of reach for a moment."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from flwr.app import Message
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from httpx import HTTPStatusError, TransportError

from mosaic_fl.engines.flower.metering import metered

PASSING = (ConnectionError, TimeoutError, TransportError, ObjectPushError)
"""Errors that may pass with time. Flower raises them after several attempts at a request."""


class Grid(Protocol):
    """The part of Flower's grid that this engine uses."""

    def get_nodes(self) -> Iterable[Any]:
        """The online nodes, with `node_id` and `public_key`."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; returns their ids."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The new replies to these messages; each comes once."""


def nodes(grid: Grid) -> dict[int, str] | None:
    """The online nodes with their public keys in hex (empty without authentication); None while the hub is away."""
    try:
        return {node.node_id: bytes(getattr(node, "public_key", b"")).hex() for node in grid.get_nodes()}
    except Exception as error:
        if is_passing(error):
            return None
        raise


def push(grid: Grid, message: Message) -> str:
    """The message's id after sending, or "" where the hub did not take it, so that it can be sent again later.

    A message that is only partly sent reaches no client: the hub drops it.
    """
    try:
        return next((name for name in grid.push_messages([message]) if name), "")
    except Exception as error:
        if is_passing(error):
            return ""
        raise


def pull(grid: Grid, message_ids: Sequence[str], most: int) -> Iterator[tuple[str, Message | Exception]]:
    """(message id, its new reply, or the error with which the reply cannot be read).

    Pulls one reply at a time: a reply may be large, and the error of a malformed one, or of one of more than `most`
    bytes, concerns its node alone.
    """
    for name in message_ids:
        try:
            with metered(grid, most):
                replies: list[Message | Exception] = list(grid.pull_messages([name]))
        except Exception as error:
            if is_passing(error):
                continue
            if isinstance(error, HTTPStatusError):  # the hub refuses the request, which is no node's fault
                raise
            replies = [error]
        while replies:
            yield name, replies.pop()


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed later: the hub was out of reach or overloaded."""
    if isinstance(error, HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, PASSING)
