"""Files of clients as they come: decrypted, their signatures checked, then read. One client, one file."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.signers import Signers, T
from mosaic_fl.notes import note
from mosaic_fl.storage.container import read_bytes
from mosaic_fl.storage.keys import PrivateKey
from mosaic_fl.storage.signature import signature_of


def read_signed(
    paths: Sequence[Path],
    read: Callable[[bytes, str], T],
    key: PrivateKey | None,
    signers: Signers | None,
    *,
    command: str,
    limit: int,
) -> dict[int, T]:
    """What `read` makes of the bytes of each file and its name, by client.

    Encrypted files are read by `key`, up to `limit` bytes each; with `signers` each must be signed, and is checked
    before anything is made of it. `command` is the one by which clients write such a file. Raises UsageError that names
    the file, also for two of one client. A note tells of signatures that nobody checks.
    """
    contents = dict[int, T]()
    places = dict[int, Path]()
    unchecked = 0
    for path in paths:
        data = read_bytes(path, key, limit)
        if signers is None:
            unchecked += signature_of(data, str(path))[0] is not None
            content = read(data, str(path))
        else:
            content = signers.read(data, str(path), read, command=command)
        client = content.client
        if client in contents:
            raise UsageError(f"{places[client]} and {path} are both of client {client}: give one of them")
        contents[client] = content
        places[client] = path
    if unchecked:
        note(f"{unchecked} of {len(paths)} files are signed, which nobody checks here: --signers FOLDER does")
    return contents
