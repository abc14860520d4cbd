"""The readers of signatures, of encrypted files, of keys and of a site's log."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import fuzz_sealed
import torch
from fuzz_mutation import mutate_bytes, mutate_text
from fuzz_reader import Reader, written

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.storage import container
from mosaic_fl.storage.chain import append, parse_chain
from mosaic_fl.storage.encryption import decrypt, is_encrypted
from mosaic_fl.storage.keys import PrivateKey, PublicKey, read_key
from mosaic_fl.storage.signature import ENTRY, attach, signature_of

SEED = bytes(range(32))  # of a pair that keeps nothing secret
ENCRYPTED = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNzaC1lZDI1NTE5IGxibXNvQSAycnVSR1hCOXNoMUJ5Y3pOZnlOMnJtOTNKYXdaVU9wekhnVzRRbnpk"
    "Smp3Ck1MaTlGWU5LM3F6eFlxalJrM0QwSXJBM1BLWlkrY08xMHdiSGlSam9IMzQKLT4gdHxTIVwtZ3JlYXNlIFwmczVyRSBae2NRXj90IDNKMTN3"
    "JSA7CitzWnZQQlRZam8rT1pYRzBqaWhDaXRuVWhxblNMMEdMdldMbTNoK2JKaEt0a1lhcWpZYW9sOUZRdnEyMVdFQTMKZmFhNWsxN3V0bW85OXBI"
    "Z25RWHBZZ2lBSnFyZ210WUMwNjdJeDlJeDUxS3ZHUTVoa01nCi0tLSBic0dURWh3T0gzK3JGTklibm9XMzQvR0FPTzNaUWJHYmZLNWJiS0M4UnMw"
    "CtwahIon9nuBkSqEYJ25grPL+t8wtQUhsbll9+0yj04hMeq1nIBEdrFAptPIsfs="
)
"""A few words for that pair: a new file would have another content each time."""


def _pair() -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.from_private_bytes(SEED)
    content = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return PrivateKey(PublicKey(key.public_key().public_bytes_raw()), content, "own.key")


PAIR = _pair()


def _signed(_folder: Path) -> list[bytes]:
    plain = container.pack("contribution", {"client": 3}, {"x": torch.zeros(2)})
    return [attach(plain, PAIR, 3, "wards-2026")]


def _mutate_signed(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """A mutant of the signature alone, in a whole header, or of the file's bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(data, others, rng)
    size = int.from_bytes(data[:8], "little")
    tree = json.loads(data[8 : 8 + size])
    tree["__metadata__"][ENTRY] = (
        mutate_text(tree["__metadata__"][ENTRY].encode(), (), rng).decode("utf-8", "replace")
        if rng.random() < 0.3
        else fuzz_sealed.mutate_manifest_text(json.loads(tree["__metadata__"][ENTRY]), rng)
    )
    head = json.dumps(tree).encode()
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


def _read_signed(data: bytes, folder: Path) -> None:
    """As the server does: the entry, then whose it is. What was not signed so is refused."""
    signature, _ = signature_of(data, "x")
    if signature is not None:
        assert len(bytes.fromhex(signature.value)) == 64
    Signers("wards-2026", folder, {3: PAIR.public}).require(data, "x")


def _mutate_encrypted(data: bytes, others: Sequence[bytes], rng: Random) -> bytes:
    """A mutant of the header, which is text, or of all bytes."""
    end = data.index(b"\n--- ") + 1
    if rng.random() < 0.7:
        return mutate_text(data[:end], (), rng) + data[end:]
    return mutate_bytes(data, others, rng)


def _read_encrypted(data: bytes, _folder: Path) -> bytes:
    if not is_encrypted(data):
        raise UsageError("bytes that are not encrypted are given back as they are")
    return decrypt(data, PAIR, "x")


def _private_keys(_folder: Path) -> list[bytes]:
    return [PAIR.content]


def _read_private(data: bytes, folder: Path) -> None:
    path = written(folder / "own.key", data)
    path.chmod(0o600)
    assert len(read_key(path).sign(b"x")) == 64


def _public_keys(_folder: Path) -> list[bytes]:
    line = PAIR.public.line
    return [line.encode(), f"# of the north\n{line} north@example.org\n".encode()]


def _logs(folder: Path) -> list[bytes]:
    path = folder / "log.jsonl"
    for k in range(3):
        append(path, lambda _, k=k: {"event": "sent", "bytes": k})  # type: ignore[misc]
    return [path.read_bytes()]


KEYS = {
    "signature": Reader(_signed, _mutate_signed, _read_signed),
    "encrypted": Reader(lambda _: [ENCRYPTED], _mutate_encrypted, _read_encrypted),
    "public-key": Reader(
        _public_keys, mutate_text, lambda data, folder: PublicKey.load(written(folder / "x.pub", data))
    ),
    "private-key": Reader(_private_keys, mutate_text, _read_private),
    "site-log": Reader(_logs, mutate_text, lambda data, _: parse_chain(data, "x")),
}
