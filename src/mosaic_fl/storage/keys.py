"""Key pairs of sites and servers: Ed25519 in OpenSSH's form, which signs, and which age encrypts for.

One pair does both. `ssh-keygen` reads and makes such files, too. Open this file for their form and its limits.
"""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.extras import require
from mosaic_fl.notes import note
from mosaic_fl.storage.files import path_text, read_bytes, read_text, write_secret

ALGORITHM = "ssh-ed25519"
MAX_KEY = 2**14  # bytes of a file with one key; a usual one has 400
MAKE = "mosaic keys new FILE makes one"
_HEADER = len(ALGORITHM).to_bytes(4) + ALGORITHM.encode() + (32).to_bytes(4)
"""What stands before the 32 bytes of a public key in OpenSSH's form (RFC 8709, section 4)."""


@dataclass(frozen=True)
class PublicKey:
    """The public part of a pair: 32 bytes (RFC 8032), which anybody may have."""

    value: bytes

    @property
    def line(self) -> str:
        """The line that one gives to others, as in a `.pub` file of `ssh-keygen`, without a comment."""
        return f"{ALGORITHM} {base64.b64encode(_HEADER + self.value).decode()}"

    @property
    def fingerprint(self) -> str:
        """A short name of the key, the one that `ssh-keygen -l` prints."""
        digest = hashlib.sha256(_HEADER + self.value).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"

    @classmethod
    def of(cls, text: str, source: str) -> "PublicKey":
        """The key in a line of text; raises UsageError, which names it as `source`."""
        words = text.split()
        try:
            content = base64.b64decode(words[1], validate=True) if words[:1] == [ALGORITHM] else b""
        except (IndexError, binascii.Error, ValueError):
            content = b""
        if "PRIVATE KEY" in text:
            raise UsageError(f"{source} is a private key, which stays where it is: mosaic keys public prints the other")
        if len(content) != len(_HEADER) + 32 or not content.startswith(_HEADER):
            raise UsageError(f"{source} is no public key ({ALGORITHM} …): {MAKE}, and mosaic keys public prints it")
        return cls(content[len(_HEADER) :])

    @classmethod
    def load(cls, path: Path) -> "PublicKey":
        """The key in a file of one line; raises UsageError that names the file."""
        lines = [line for line in read_text(path, MAX_KEY).splitlines() if line.strip() and not line.startswith("#")]
        if len(lines) > 1 and "PRIVATE KEY" not in lines[0]:
            raise UsageError(f"{path_text(path)} has {len(lines)} lines: one file holds one public key")
        return cls.of(lines[0] if lines else "", path_text(path))

    @classmethod
    def named(cls, text: str) -> "PublicKey":
        """The key that `text` is, or that stands in the file of this name; raises UsageError."""
        if not text or (text.startswith(("ssh-", "age1", "-----")) and not Path(text).exists()):
            return cls.of(text, excerpt(text, 40))
        return cls.load(Path(text))


@dataclass(frozen=True)
class PrivateKey:
    """A whole pair. `content` is its file, without a password; `source` names it in errors, and it is never printed."""

    public: PublicKey
    content: bytes = field(repr=False)
    source: str

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of the Ed25519 signature of a message (RFC 8032)."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        key = load_ssh_private_key(self.content, None)
        assert isinstance(key, Ed25519PrivateKey)
        return key.sign(message)


def make_key(path: Path) -> PublicKey:
    """Write a new pair to `path`, which this user alone can read; returns its public part."""
    require_packages()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return PublicKey(key.public_key().public_bytes_raw())


def read_key(path: Path) -> PrivateKey:
    """The pair in a file of `make_key` or `ssh-keygen -t ed25519`; raises UsageError that names the file.

    A note tells of a file that other accounts can read.
    """
    require_packages()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    source = path_text(path)
    content = read_bytes(path, MAX_KEY)
    if content.startswith(ALGORITHM.encode()):
        raise UsageError(f"{source} is a public key: here its private part is needed, the file of mosaic keys new")
    try:
        key = load_ssh_private_key(content, None)
    except Exception as error:  # for a broken file the library raises errors of many kinds
        if "password" in str(error).lower():
            raise UsageError(f"{source} has a password: ssh-keygen -p -f FILE takes it away, or {MAKE}") from error
        raise UsageError(f"{source} is no private key (OpenSSH, Ed25519): {MAKE}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{source} is a private key of another kind than Ed25519: {MAKE}")
    if os.name == "posix" and path.stat().st_mode & 0o077:
        note(f"other accounts can read the private key {source}: chmod 600 ends that")
    return PrivateKey(PublicKey(key.public_key().public_bytes_raw()), content, source)


def is_signature(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is that of `message` by the owner of `key`."""
    require_packages()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.value).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def require_packages() -> None:
    """Raise UsageError where the packages of the extra `keys` are not installed."""
    require("a key", "pyrage", "cryptography")
