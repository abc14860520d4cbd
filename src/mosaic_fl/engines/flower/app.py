"""Flower's client app: every message gets an answer from the desk of its client."""

import logging
from collections.abc import Callable
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from mosaic_fl.engines.flower.client import Desk
from mosaic_fl.engines.flower.wire import Answer, Request, pack_answer, unpack_request

log = logging.getLogger("mosaic_fl.client")


def make_app(desk: Callable[[Any], Desk]) -> ClientApp:
    """A client app whose node, of the configuration that `desk` is given, is that client."""
    app = ClientApp()

    def reply(message: Message, context: Context) -> Message:
        request: Request | None = None
        try:
            request = unpack_request(message.content)
            answer = desk(context.node_config).answer(request)
        except Exception as error:  # whatever it is, its text stays here: it may name files
            log.error("no answer: %s", error)
            run, digest, client = (request.run, request.digest, request.client) if request else ("", "", -1)
            reason = "its site file is wrong: see its log" if request else "it does not understand the request"
            answer = Answer(run, digest, client, reason=reason)
        return Message(pack_answer(answer), reply_to=message)

    app.query()(reply)
    app.train()(reply)
    return app
