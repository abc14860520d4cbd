"""What the server's app asks of Flower's hub: what passes is tried again, what does not ends the run."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("flwr")

from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from httpx import ConnectTimeout, HTTPStatusError, ReadError, Request, Response

from mosaic_fl.engines.flower.hub import nodes, pull, push

MESSAGE: Any = object()  # no grid here looks into it


def status(code: int) -> HTTPStatusError:
    return HTTPStatusError("no", request=Request("POST", "https://hub"), response=Response(code))


PASSING = [ObjectPushError("x", 1, "y"), ConnectionResetError(), TimeoutError(), ConnectTimeout("slow"), ReadError("")]
PASSING += [status(503), status(429)]
LASTING = [status(403), status(404)]


class Failing:
    """A grid whose every call raises `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def _raise(self, *_: Any) -> Any:
        raise self.error

    get_nodes = push_messages = pull_messages = _raise


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_a_busy_hub_does_is_no_answer(error: Exception) -> None:
    hub = Failing(error)
    assert nodes(hub) is None
    assert push(hub, MESSAGE) == ""
    assert list(pull(hub, ["a", "b"], 9)) == []


@pytest.mark.parametrize("error", LASTING, ids=repr)
@pytest.mark.parametrize("ask", [nodes, lambda hub: push(hub, MESSAGE), lambda hub: list(pull(hub, ["a"], 9))])
def test_a_refusal_of_the_hub_is_raised(ask: Callable[[Any], Any], error: Exception) -> None:
    with pytest.raises(HTTPStatusError):
        ask(Failing(error))


def test_a_reply_that_cannot_be_put_together_is_its_nodes_fault() -> None:
    error = ValueError("no such record")
    assert list(pull(Failing(error), ["a", "b"], 9)) == [("a", error), ("b", error)]
    with pytest.raises(ValueError, match="no such record"):
        push(Failing(error), MESSAGE)


def test_a_message_that_the_hub_stores_has_an_id() -> None:
    grid = SimpleNamespace(push_messages=lambda messages: ["m1" for _ in messages])
    assert push(grid, MESSAGE) == "m1"
    assert push(SimpleNamespace(push_messages=lambda _: [""]), MESSAGE) == ""


def test_nodes_have_their_keys_in_hex() -> None:
    online = [SimpleNamespace(node_id=7, public_key=b"\x01\xff"), SimpleNamespace(node_id=9)]
    assert nodes(SimpleNamespace(get_nodes=lambda: online)) == {7: "01ff", 9: ""}
