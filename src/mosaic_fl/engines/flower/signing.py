"""Signed answers: a site signs what it says, and a server that has the sites' keys takes nothing else from them.

A signature covers the run, the request, the client's number and all that the answer says, its body by its SHA-256.
"""

import json
from dataclasses import asdict, replace

from mosaic_fl.engines.flower.wire import Answer
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.storage.keys import PrivateKey, is_signature

PURPOSE = b"mosaic-fl answer, version 1\n"  # so that a signature of something else is none of this


def sign(answer: Answer, key: PrivateKey | None) -> Answer:
    """The answer with the signature of `key`; without a key as it is."""
    if key is None:
        return answer
    signed = replace(answer, signature=key.sign(_message(answer)).hex())
    signed.__dict__["body_digest"] = answer.body_digest  # a large body is hashed once
    return signed


def require_signature(answer: Answer, client: int, signers: Signers | None) -> None:
    """Raise UsageError unless the answer is signed by `client`; nothing is asked for without `signers`."""
    if signers is None:
        return
    key = signers.keys.get(client)
    if key is None:
        raise UsageError(f"client {client} has no key in --signers")
    if not answer.signature:
        raise UsageError(f"client {client} does not sign its answers: its site file names its key, as sign = …")
    try:
        signature = bytes.fromhex(answer.signature)
    except ValueError:
        signature = b""
    if not is_signature(key, signature, _message(answer)):
        raise UsageError(f"its signature is not that of client {client}, or its answer was altered since")


def _message(answer: Answer) -> bytes:
    """The bytes that are signed: JSON after JSON, so that they are equal at both ends."""
    head = {name: value for name, value in asdict(answer).items() if name not in ("body", "signature")}
    head |= {"seconds": float(answer.seconds), "sha256": answer.body_digest}
    return PURPOSE + json.dumps(json.loads(json.dumps(head)), sort_keys=True).encode()
