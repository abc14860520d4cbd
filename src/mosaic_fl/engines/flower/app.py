"""Flower's client app: every message gets an answer from the desk of its client."""

from collections.abc import Callable
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from mosaic_fl.engines.flower.client import Desk
from mosaic_fl.engines.flower.wire import Answer, pack_answer, unpack_request
from mosaic_fl.errors import UsageError


def make_app(desk: Callable[[Any], Desk]) -> ClientApp:
    """A client app whose node, of the configuration that `desk` is given, is that client."""
    app = ClientApp()

    def reply(message: Message, context: Context) -> Message:
        try:
            at, request = desk(context.node_config), unpack_request(message.content)
        except UsageError as error:
            return Message(pack_answer(Answer("", "", -1, reason=str(error))), reply_to=message)
        return Message(pack_answer(at.answer(request)), reply_to=message)

    app.query()(reply)
    app.train()(reply)
    return app
