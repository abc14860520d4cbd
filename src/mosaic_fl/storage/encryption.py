"""Files that are encrypted for their reader, in the form of age (age-encryption.org/v1), by the library pyrage.

X25519 with a new key for each file, HKDF-SHA256, and ChaCha20-Poly1305 in numbered parts, of which the last one says
that it is the last: a byte that was altered, moved or cut off is noticed. The tool `age` reads and writes such files.
"""

from collections.abc import Sequence

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.keys import PrivateKey, PublicKey, require_packages

MAGIC = b"age-encryption.org/v1\n"
MAX_READERS = 20
MAX_HEADER = 2**12  # bytes; a reader takes 120. The library takes a time that is quadratic in these
_END_OF_HEADER = b"\n--- "
STRANGER = "No matching keys found"  # the library's word where the key is none of the readers'


def is_encrypted(data: bytes) -> bool:
    """Whether these are the bytes of an encrypted file."""
    return data.startswith(MAGIC)


def encrypt(data: bytes, readers: Sequence[PublicKey]) -> bytes:
    """The bytes of a file that each of the `readers` can read by its private key, and nobody else."""
    require_packages()
    import pyrage

    content: bytes = pyrage.encrypt(data, [pyrage.ssh.Recipient.from_str(reader.line) for reader in readers])
    return content


def decrypt(data: bytes, key: PrivateKey | None, source: str) -> bytes:
    """The inverse of `encrypt`; bytes that are not encrypted are returned as they are.

    Raises UsageError, which names the bytes as `source`, without a key, with another one than its readers', and where
    a byte was altered or is missing.
    """
    if not is_encrypted(data):
        return data
    if key is None:
        raise UsageError(f"{source} is encrypted: give the private key that it is for, --key FILE")
    require_packages()
    import pyrage

    if data.find(_END_OF_HEADER, 0, MAX_HEADER) < 0:
        raise UsageError(f"{source} is encrypted, but damaged or incomplete: ask its sender again")
    try:
        content: bytes = pyrage.decrypt(data, [pyrage.ssh.Identity.from_buffer(key.content)])
    except pyrage.DecryptError as error:
        if str(error) == STRANGER:
            mine = f"{key.source} ({key.public.fingerprint})"
            raise UsageError(f"{source} is encrypted for another key than {mine}") from error
        reason = " ".join(str(error).split())  # some of the library's words have two lines
        raise UsageError(
            f"{source} is encrypted, but damaged or incomplete ({reason}): ask its sender again"
        ) from error
    return content
