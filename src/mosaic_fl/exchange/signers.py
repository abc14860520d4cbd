"""Whose word counts: one public key for each client, and the checks that what came is signed by its client."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.storage.files import path_text, reason_of
from mosaic_fl.storage.keys import PublicKey, require_packages
from mosaic_fl.storage.signature import Signature, signature_of

NAME = re.compile(r"(client-)?([0-9]{1,4})\.pub")
"""The name of a client's file: 3.pub, 003.pub or client-3.pub."""


class OfClient(Protocol):
    """What says of which client it is."""

    @property
    def client(self) -> int:
        """The client's number."""
        ...


T = TypeVar("T", bound=OfClient)


@dataclass(frozen=True)
class Signers:
    """The clients of the run `run` by number, and their public keys; `folder` is where these lie.

    `accepted` says by client and nonce which file was accepted, each of which may come once.
    """

    run: str
    folder: Path
    keys: Mapping[int, PublicKey]
    accepted: dict[tuple[int, str], str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, run: str) -> "Signers":
        """The keys in a folder with one file a client.

        Raises UsageError where it is empty or cannot be read, for a file that is no public key or names no client,
        for two keys of a client, and for two clients with the same key.
        """
        require_packages()
        keys = dict[int, PublicKey]()
        for path in _files(folder):
            name = NAME.fullmatch(path.name)
            if name is None:
                raise UsageError(f"{path_text(path)} names no client: in --signers each file is of one, as 3.pub")
            client = int(name[2])
            if client in keys:
                raise UsageError(f"{path_text(folder)} has two keys of client {client}: leave the one that counts")
            key = PublicKey.load(path)
            other = next((k for k, known in keys.items() if known == key), None)
            if other is not None:
                raise UsageError(
                    f"{path_text(folder)}: clients {other} and {client} have the same key: each needs its own"
                )
            keys[client] = key
        if not keys:
            raise UsageError(f"{path_text(folder)} has no keys: put each client's public key there, as 3.pub")
        return cls(run, folder, keys)

    def read(self, data: bytes, source: str, reader: Callable[[bytes, str], T], *, command: str = "contribute") -> T:
        """What `reader` makes of the bytes of a signed file and its name, once for each signature of a client.

        A file that `reader` refuses, as one that was damaged on the way, is no first one. Raises UsageError as
        `require` and `reader` do, for a file of another client than its signature, and for the copy of an accepted one.
        """
        signature = self.require(data, source, command=command)
        key = (signature.client, signature.nonce)
        if (first := self.accepted.get(key, source)) != source:
            raise UsageError(f"{source} is a copy of {first}: one signature counts once")
        content = reader(data, source)
        if content.client != signature.client:
            raise UsageError(f"{source} is of client {content.client}, and signed as client {signature.client}")
        self.accepted[key] = source
        return content

    def require(self, data: bytes, source: str, *, command: str = "contribute") -> Signature:
        """The signature of these bytes of a file, which errors name as `source`: it is of a client with a key here.

        Raises UsageError where they are not signed, or by a client without a key here, altered since, or signed for
        another run. That the file has the SHA-256 that it says is left to its reader. `command` is the one by which
        clients make and sign such a file.
        """
        signature, digest = signature_of(data, source)
        if signature is None:
            raise UsageError(f"{source} is not signed: its client makes it with mosaic {command} --sign")
        key = self.keys.get(signature.client)
        if key is None:
            raise UsageError(
                f"{source} is signed as client {signature.client}, whose key is not in {path_text(self.folder)}"
            )
        self._require_signature(signature, key, digest, source)
        if signature.run != self.run:
            raise UsageError(
                f"{source} is signed for the run {excerpt(signature.run)}, and this is {excerpt(self.run)}: its client "
                "signs it for this one"
            )
        return signature

    def _require_signature(self, signature: Signature, key: PublicKey, digest: str, source: str) -> None:
        if signature.is_of(key, digest):
            return
        if signature.key != key.fingerprint:
            theirs = excerpt(signature.key)
            raise UsageError(
                f"{source} is signed by the key {theirs}, and that of client {signature.client} is {key.fingerprint}"
            )
        raise UsageError(f"{source} was altered after client {signature.client} signed it, or is not by that client")


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder in the order of their names, but for hidden ones; raises UsageError."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"--signers {path_text(folder)}: {reason_of(folder, error)}") from error
    return (path for path in paths if not path.name.startswith("."))
