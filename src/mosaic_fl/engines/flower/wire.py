"""Requests and answers as Flower carries them: a JSON head, and a body that is bytes of the one file format.

Flower's own records are neither unpacked to arrays nor unpickled: a body is an opaque array of bytes, in pieces of
Flower's making, so it may be large. Equal bodies to several clients are one object on the server.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from mosaic_fl.errors import UsageError
from mosaic_fl.storage import received_json
from mosaic_fl.storage.files import sha256

PROTOCOL = 2
"""Changes with any change of what is sent; two ends of different numbers refuse each other."""
MAX_HEAD = 2**21  # characters of JSON
MAX_REASON = 300
MAX_TEXT = 200
HEAD = "head"
BODY = "body"
EXTRA = "extra"
RAW = "mosaic-fl.bytes"  # the type of serialisation that Flower is told: it has no reader for it, and needs none


@dataclass(frozen=True)
class Request:
    """What the server asks of one client: `task` in the run `run`, of the person who speaks for `client`.

    `client` is −1 where the server asks who is there. `body` holds what the task needs, see `codec`; `extra` what the
    body refers to and the client may have already. Of two requests the one with the greater `serial` is the newer.
    """

    run: str
    task: str
    client: int
    body: bytes = b""
    extra: bytes = b""
    serial: int = 0

    @cached_property
    def digest(self) -> str:
        """What tells this request from all others to this client; the same when it is said again."""
        return sha256(self.run.encode(), self.task.encode(), self.body)

    def said_to(self, client: int, extra: bytes = b"") -> "Request":
        """The same request to another client, with its own `extra`; the body, which may be large, is hashed once."""
        other = replace(self, client=client, extra=extra)
        other.__dict__["digest"] = self.digest
        return other


@dataclass(frozen=True)
class Answer:
    """What a client says to the request with `digest`: a `body`, or why there is none.

    `reason` is a sentence of ours, never an exception's text, which may hold names of files or values of data.
    `seconds` are those of work, `metrics` its logged figures; `facts` say who is there, where that was asked.
    """

    run: str
    request: str
    client: int
    seconds: float = 0.0
    metrics: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    body: bytes = b""

    @cached_property
    def body_digest(self) -> str:
        """SHA-256 of the body."""
        return sha256(self.body)


def pack_request(request: Request) -> RecordDict:
    """The content of a message that asks."""
    head = {name: getattr(request, name) for name in ("run", "task", "client", "serial")}
    return _pack({"protocol": PROTOCOL, **head}, request.body, request.extra)


def unpack_request(content: RecordDict) -> Request:
    """The inverse of `pack_request`; raises UsageError for anything else."""
    match _unpack(content):
        case {"protocol": int(protocol)}, _, _ if protocol != PROTOCOL:
            raise _other_protocol(protocol)
        case {"run": str(run), "task": str(task), "client": int(client), "serial": int(serial)}, body, extra:
            return Request(run, task, client, body, extra, serial)
    raise UsageError("the message is not a request")


def pack_answer(answer: Answer) -> RecordDict:
    """The content of a message that answers."""
    head = {name: value for name, value in asdict(answer).items() if name != "body"}
    return _pack({"protocol": PROTOCOL, **head, "sha256": answer.body_digest}, answer.body)


def unpack_answer(content: RecordDict) -> Answer:
    """The inverse of `pack_answer`, for content that may come from anywhere; raises UsageError for anything else.

    `content` is emptied: beside its bytes an array of Flower's keeps the pieces in which it travelled.
    """
    head, body, _ = _unpack(content)
    content.clear()
    match head:
        case {"protocol": int(protocol)} if protocol != PROTOCOL:
            raise _other_protocol(protocol)
        case {
            "run": str(run),
            "request": str(request),
            "client": int(client),
            "seconds": int() | float() as seconds,
            "metrics": list(metrics),
            "facts": dict(facts),
            "reason": str(reason),
            "sha256": str(digest),
        } if is_figure(seconds) and seconds >= 0 and all(_is_line(line) for line in metrics):
            said = "".join(c for c in reason[:MAX_REASON] if c.isprintable())
            answer = Answer(run, request, client, float(seconds), metrics, facts, said, body)
            if answer.body_digest != digest:
                raise UsageError("truncated or altered on the way: its SHA-256 does not match")
            return answer
    raise UsageError("it is not an answer of mosaic-fl")


def is_figure(value: object) -> bool:
    """Whether it is a finite number that a float can hold."""
    return (type(value) is float and isfinite(value)) or (type(value) is int and abs(value) < 2**53)


def _is_line(line: object) -> bool:
    """Whether it is what a journal may keep of one step: names, and numbers or short texts."""
    return isinstance(line, dict) and all(
        len(name) <= MAX_TEXT and (is_figure(value) or (isinstance(value, str) and len(value) <= MAX_TEXT))
        for name, value in line.items()
    )


def _pack(head: dict[str, Any], body: bytes, extra: bytes = b"") -> RecordDict:
    said: dict[str, Any] = {HEAD: ConfigRecord({"json": json.dumps(head)})}
    for name, data in ((BODY, body), (EXTRA, extra)):
        said[name] = ArrayRecord({name: Array("uint8", (len(data),), RAW, data)})
    return RecordDict(said)


def _unpack(content: RecordDict) -> tuple[dict[str, Any], bytes, bytes]:
    try:
        text: Any = content[HEAD]["json"]
        arrays: list[Any] = [content[BODY][BODY], content[EXTRA][EXTRA]]
    except (KeyError, TypeError):
        raise UsageError("it has no head and body") from None
    if not isinstance(text, str) or len(text) > MAX_HEAD or not all(isinstance(array, Array) for array in arrays):
        raise UsageError("its head or its body is of a wrong kind")
    try:
        head = received_json.loads(text)
    except ValueError:
        raise UsageError("its head is not JSON") from None
    if not isinstance(head, dict):
        raise UsageError("its head is not a JSON object")
    return head, arrays[0].data, arrays[1].data


def _other_protocol(protocol: int) -> UsageError:
    return UsageError(
        f"it speaks protocol {protocol}, this mosaic-fl {PROTOCOL}: install the same version at server and clients"
    )
