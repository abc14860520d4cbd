"""Flower's client app: it answers every message with the client's desk (`client`)."""

import logging
from collections.abc import Callable
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from mosaic_fl.engines.flower.client import Desk
from mosaic_fl.engines.flower.wire import Answer, Request, pack_answer, unpack_request
from mosaic_fl.errors import UsageError

log = logging.getLogger("mosaic_fl.client")


def make_app(desk: Callable[[Any], Desk]) -> ClientApp:
    """A client app; `desk` gives the desk of the client for the configuration of the app's node."""
    app = ClientApp()

    def reply(message: Message, context: Context) -> Message:
        request: Request | None = None
        try:
            request = unpack_request(message.content)
            answer = desk(context.node_config).answer(request)
        except Exception as error:  # its text stays in this log, since it may name files
            usage = isinstance(error, UsageError)
            log.error("no answer: %s", error, exc_info=not usage)
            if request is None:
                answer = Answer("", "", -1, reason="it does not understand the request")
            else:
                reason = "its site file is wrong: see its log" if usage else "a defect stopped its work: see its log"
                answer = Answer(request.run, request.digest, request.client, reason=reason)
        return Message(pack_answer(answer), reply_to=message)

    app.query()(reply)
    app.train()(reply)
    return app
