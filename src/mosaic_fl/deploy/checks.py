"""The checks of keys and certificates before any process starts; each error is one line."""

import base64
import datetime
import hashlib
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mosaic_fl.deploy.certificates import CA, CERTIFICATE, KEY, MAX_KEY, read_certificate, read_private_key
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.storage.files import read_bytes

NIST = ("secp256r1", "secp384r1", "secp521r1")  # the curves that Flower accepts
RENEW = "mosaic deploy keys server --force renews it"


def check_server_keys(folder: Path) -> None:
    """Raise UsageError unless `folder` holds a valid certificate, its key, and the authority that signed it."""
    certificate = read_certificate(folder / CERTIFICATE)
    authority = read_certificate(folder / CA)
    check_dates(folder / CERTIFICATE, certificate)
    check_dates(folder / CA, authority)
    key = read_private_key(folder / KEY)
    if key.public_key() != certificate.public_key():
        raise UsageError(f"{folder / CERTIFICATE} does not belong to {folder / KEY}: {RENEW}")
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise UsageError(f"{folder / CERTIFICATE} was not signed by {folder / CA}: {RENEW}") from error


def check_dates(path: Path, certificate: x509.Certificate) -> None:
    """Raise UsageError unless the certificate read from `path` is valid now."""
    now = datetime.datetime.now(datetime.UTC)
    begin = certificate.not_valid_before_utc
    end = certificate.not_valid_after_utc
    if now > end:
        raise UsageError(
            f"{path} expired on {end:%Y-%m-%d %H:%M} UTC (the clock here says {now:%Y-%m-%d %H:%M}): {RENEW}"
        )
    if now < begin:
        raise UsageError(
            f"{path} is valid from {begin:%Y-%m-%d %H:%M} UTC on, but the clock here says {now:%Y-%m-%d %H:%M}: set it"
        )


def check_client_key(path: Path) -> str:
    """The fingerprint of the private key at `path`; raises UsageError for a key that Flower does not accept."""
    try:
        content = read_bytes(path, MAX_KEY)
    except UsageError as error:
        raise UsageError(f"{error}; mosaic deploy keys client makes it") from error
    try:
        key = serialization.load_ssh_private_key(content, None)
        public = key.public_key()
    except Exception as error:  # for a broken file the library raises errors of many kinds
        reason = "the public half: name the private key" if path.suffix == ".pub" else "not a private OpenSSH key"
        raise UsageError(f"{path} is {reason}; mosaic deploy keys client makes one") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in NIST:
        raise UsageError(f"{path} is a key of the wrong kind: mosaic deploy keys client makes one (ECDSA P-384)")
    if path.stat().st_mode & 0o077:
        raise UsageError(f"{path} can be read by others: chmod 600 {path}")
    return fingerprint(public)


def client_public_keys(folder: Path) -> dict[str, Path]:
    """The clients' public keys in `folder`, by fingerprint; raises UsageError for wrong, equal or missing keys."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: --clients-keys names the one with the clients' .pub files")
    keys: dict[str, Path] = {}
    for path in sorted(folder.glob("*.pub")):
        content = read_bytes(path, MAX_KEY)
        try:
            public = serialization.load_ssh_public_key(content)
        except Exception as error:  # for a broken file the library raises errors of many kinds
            raise UsageError(
                f"{path} is not a public OpenSSH key: it is the .pub file of mosaic deploy keys client"
            ) from error
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in NIST:
            raise UsageError(f"{path} is a key of the wrong kind: mosaic deploy keys client makes one (ECDSA P-384)")
        mark = fingerprint(public)
        if mark in keys:
            raise UsageError(f"{path} and {keys[mark]} are the same key: every client makes its own")
        keys[mark] = path
    if not keys:
        raise UsageError(
            f"{folder} holds no .pub file: put each client's client.key.pub there, under names of your own"
        )
    return keys


def fingerprint(public: ec.EllipticCurvePublicKey) -> str:
    """The SHA-256 of a public key, as `ssh-keygen -l` computes it, in hexadecimal."""
    form = public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return hashlib.sha256(base64.b64decode(form.split()[1])).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_signers(folder: Path, clients: int) -> None:
    """Raise UsageError unless the folder has a public key of each client, 0 to `clients` − 1, that signs."""
    keys = Signers.load(folder, "").keys
    lacking = [client for client in range(clients) if client not in keys]
    if lacking:
        raise UsageError(f"--signers {folder} has no key of client {lacking[0]}: put it there, as {lacking[0]}.pub")
