"""What the server's app asks of Flower's SuperLink, which may be busy, or away for a moment."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from flwr.app import Message
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from httpx import HTTPStatusError, TransportError

PASSING = (ConnectionError, TimeoutError, TransportError, ObjectPushError)
"""What a later try may not meet. Flower has tried each request several times before it raises one of these."""


class Grid(Protocol):
    """The part of Flower's grid that we use."""

    def get_nodes(self) -> Iterable[Any]:
        """Nodes that are online, with `node_id` and `public_key`."""

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send; returns the messages' ids."""

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there, each once."""


def nodes(grid: Grid) -> dict[int, str] | None:
    """The nodes that are online, with their public keys in hex (empty without authentication); None: not known now."""
    try:
        return {node.node_id: bytes(getattr(node, "public_key", b"")).hex() for node in grid.get_nodes()}
    except Exception as error:
        if is_passing(error):
            return None
        raise


def push(grid: Grid, message: Message) -> str:
    """The id of the message that was sent; empty where the hub did not take it now, so that it is sent again later.

    What was half sent reaches no client: the hub drops a message whose parts do not all come.
    """
    try:
        return next((sent for sent in grid.push_messages([message]) if sent), "")
    except Exception as error:
        if is_passing(error):
            return ""
        raise


def pull(grid: Grid, sent: Sequence[str]) -> Iterator[tuple[str, Message | Exception]]:
    """The replies that are there, each with the message that it replies to; or what was wrong with it.

    One at a time: a body that cannot be put together is that node's fault and no other's, and may be large.
    """
    for name in sent:
        try:
            found: list[Message | Exception] = list(grid.pull_messages([name]))
        except Exception as error:
            if is_passing(error):
                continue
            if isinstance(error, HTTPStatusError):  # the hub's refusal, of which no node knows
                raise
            found = [error]
        while found:
            yield name, found.pop()


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed later: the hub was not reached, or said that it has too much to do."""
    if isinstance(error, HTTPStatusError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, PASSING)
