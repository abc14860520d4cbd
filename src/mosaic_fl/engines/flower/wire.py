"""Requests and answers as Flower's messages: a JSON head, and a body in this package's file format.

A body is an opaque array of bytes, which Flower splits into pieces, so it may be large. Nothing of Flower's records is
unpickled or read as an array of numbers. Equal bodies to several clients are one object on the server.
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
"""The version of the messages. Two ends with different versions refuse each other."""
MAX_HEAD = 2**21  # characters of JSON
MAX_REASON = 300
MAX_TEXT = 200
HEAD = "head"
BODY = "body"
EXTRA = "extra"
RAW = "mosaic-fl.bytes"  # the name of the serialisation in Flower's arrays; Flower itself never reads them


@dataclass(frozen=True)
class Request:
    """A request of the server to one client: `task` in the run `run`.

    `client` is −1 in a greeting, before the server has the client's number. `body` is the task's input, see `codec`.
    `extra` is further input that the client may already have. A newer request has a greater `serial`.
    """

    run: str
    task: str
    client: int
    body: bytes = b""
    extra: bytes = b""
    serial: int = 0

    @cached_property
    def digest(self) -> str:
        """The hash that identifies this request among all to its client; a repeated request has the same one."""
        return sha256(self.run.encode(), self.task.encode(), self.body)

    def for_client(self, client: int, extra: bytes = b"") -> "Request":
        """The same request to another client with its own `extra`. The body, which may be large, is hashed once."""
        other = replace(self, client=client, extra=extra)
        other.__dict__["digest"] = self.digest
        return other


@dataclass(frozen=True)
class Answer:
    """A client's answer to the request with the digest `request`: a `body`, or the `reason` for its absence.

    `reason` is a fixed sentence, never an exception's text, which may contain file names or data. `seconds` is the time
    of the work, `metrics` its logged figures. `facts` describe the client in the answer to a greeting. `signature`, in
    hexadecimal, is empty at a site that signs nothing.
    """

    run: str
    request: str
    client: int
    seconds: float = 0.0
    metrics: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    body: bytes = b""
    signature: str = ""

    @cached_property
    def body_digest(self) -> str:
        """SHA-256 of the body."""
        return sha256(self.body)


def pack_request(request: Request) -> RecordDict:
    """A request as the content of a message."""
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
    """An answer as the content of a message."""
    head = {name: value for name, value in asdict(answer).items() if name != "body"}
    return _pack({"protocol": PROTOCOL, **head, "sha256": answer.body_digest}, answer.body)


def unpack_answer(content: RecordDict) -> Answer:
    """The inverse of `pack_answer`, for content from any source; raises UsageError for anything else.

    Empties `content`, since Flower's array also keeps the pieces in which the bytes travelled.
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
            printable = "".join(letter for letter in reason[:MAX_REASON] if letter.isprintable())
            signature = head.get("signature", "")
            if not isinstance(signature, str) or len(signature) > MAX_TEXT:
                raise UsageError("its signature is of a wrong kind")
            answer = Answer(run, request, client, float(seconds), metrics, facts, printable, body, signature)
            if answer.body_digest != digest:
                raise UsageError("truncated or altered on the way: its SHA-256 does not match")
            return answer
    raise UsageError("it is not an answer of mosaic-fl")


def is_figure(value: object) -> bool:
    """Whether the value is a finite number that a float can hold."""
    return (type(value) is float and isfinite(value)) or (type(value) is int and abs(value) < 2**53)


def _is_line(line: object) -> bool:
    """Whether the value is a line of a journal's metrics: short names with numbers or short texts."""
    return isinstance(line, dict) and all(
        len(name) <= MAX_TEXT and (is_figure(value) or (isinstance(value, str) and len(value) <= MAX_TEXT))
        for name, value in line.items()
    )


def _pack(head: dict[str, Any], body: bytes, extra: bytes = b"") -> RecordDict:
    records: dict[str, Any] = {HEAD: ConfigRecord({"json": json.dumps(head)})}
    for name, data in ((BODY, body), (EXTRA, extra)):
        records[name] = ArrayRecord({name: Array("uint8", (len(data),), RAW, data)})
    return RecordDict(records)


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
