"""A signature in a file of this package: who wrote it, for which run; any reader may pass over it.

It stands beside the manifest in the file's header, and covers the file's SHA-256 (manifest and tensors), the client's
number, the run, and a number that was drawn for this signature alone.
"""

import json
import re
import secrets
from dataclasses import dataclass

from mosaic_fl.errors import UsageError
from mosaic_fl.storage import received_json
from mosaic_fl.storage.header import Header, read_header
from mosaic_fl.storage.keys import PrivateKey, PublicKey, is_signature

ENTRY = "mosaic-signature"
PURPOSE = b"mosaic-fl contribution, version 1\n"  # so that a signature of something else is none of this
MAX_RUN = 100  # characters of a run's name
_HEX = re.compile(r"[0-9a-f]*")
_ALIGNMENT = 8  # bytes, of the header in the format safetensors


@dataclass(frozen=True)
class Signature:
    """What a signed file says of itself. `nonce` are 16 bytes, `value` 64 (RFC 8032), both in hexadecimal.

    `key` is the fingerprint that it says its key has, for messages alone.
    """

    client: int
    run: str
    nonce: str
    key: str
    value: str

    def is_of(self, key: PublicKey, digest: str) -> bool:
        """Whether the owner of `key` signed this for a file with this SHA-256."""
        return is_signature(key, bytes.fromhex(self.value), _message(digest, self.client, self.run, self.nonce))


def require_run(run: str) -> None:
    """Raise UsageError for a text that cannot name a run."""
    if not run.strip() or not run.isprintable() or len(run) > MAX_RUN:
        raise UsageError(f"--run-id {run[:MAX_RUN]!r}: it is a line of 1 to {MAX_RUN} characters")


def attach(data: bytes, key: PrivateKey, client: int, run: str) -> bytes:
    """The bytes of a file with a signature of `client` for `run`, in place of any other."""
    header = read_header(data, "the contribution")
    nonce = secrets.token_hex(16)
    value = key.sign(_message(header.digest, client, run, nonce)).hex()
    entry = {"client": client, "run": run, "nonce": nonce, "key": key.public.fingerprint, "signature": value}
    return _with_entry(header, json.dumps(entry)) + data[header.end :]


def signature_of(data: bytes, source: str) -> tuple[Signature | None, str]:
    """(the signature of a file or None, the SHA-256 that the file says it has), before the file itself is read.

    Raises UsageError, which names the bytes as `source`, where they are no file of this package, and for a signature
    of no such form.
    """
    header = read_header(data, source)
    text = header.tree["__metadata__"].get(ENTRY)
    if text is None:
        return None, header.digest
    try:
        match received_json.loads(text):
            case {
                "client": int(client),
                "run": str(run),
                "nonce": str(nonce),
                "key": str(key),
                "signature": str(value),
            }:
                forms = _is_hex(nonce, 16) and _is_hex(value, 64) and len(run) <= MAX_RUN and len(key) <= MAX_RUN
                if forms and type(client) is int and 0 <= client < 2**31:
                    return Signature(client, run, nonce, key, value), header.digest
    except (ValueError, TypeError):
        pass
    raise UsageError(f"{source} has a signature that is none: ask its client for it again")


def _message(digest: str, client: int, run: str, nonce: str) -> bytes:
    """The bytes that are signed. JSON, so that no two statements have the same bytes."""
    return PURPOSE + json.dumps([digest, client, run, nonce]).encode()


def _with_entry(header: Header, text: str) -> bytes:
    """The file's header with the signature in it, and its length before it, as the format safetensors has them."""
    tree = {**header.tree, "__metadata__": {**header.tree["__metadata__"], ENTRY: text}}
    content = json.dumps(tree, separators=(",", ":")).encode()
    content += b" " * (-len(content) % _ALIGNMENT)
    return len(content).to_bytes(8, "little") + content


def _is_hex(text: str, size: int) -> bool:
    """Whether the text is `size` bytes in hexadecimal."""
    return len(text) == 2 * size and _HEX.fullmatch(text) is not None
