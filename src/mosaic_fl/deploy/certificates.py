"""Make and read keys and certificates: the server's, signed by its own authority, and each client's key pair."""

import contextlib
import datetime
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_bytes, write_atomic, write_secret

AUTHORITY_DAYS = 3650
SERVER_DAYS = 730
BACKDATED = datetime.timedelta(days=1)  # so that a clock that is behind accepts a new certificate
CA = "ca.crt"
CA_KEY = "ca.key"
CERTIFICATE = "server.pem"
KEY = "server.key"
CLIENT_KEY = "client.key"
# bytes of a file with a key or a certificate; usual files have a few thousand. The check of a long key takes hours.
MAX_KEY = 2**18
# RFC 1123, section 2.1, and underscores, which occur in the names of container networks. A first part may be *.
_PART = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
HOST = re.compile(rf"(\*\.)?{_PART}(\.{_PART})*")
LONGEST_HOST = 253


def make_server_keys(hosts: Sequence[str], folder: Path, *, force: bool = False, days: float = SERVER_DAYS) -> None:
    """Write ca.crt, ca.key, server.pem and server.key for a server that clients reach under `hosts`.

    An existing authority stays, so that clients do not need another ca.crt. The server's certificate is valid for
    `days`; a negative number makes an expired certificate, for tests. Raises UsageError if a certificate exists and
    `force` is false.
    """
    names = list(dict.fromkeys(host.strip().strip("[]") for host in hosts))
    if not names or not all(names):
        raise UsageError("--host has an empty name: write the names and addresses that clients use, with commas")
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    for name in (CERTIFICATE, KEY):
        _require_free(folder / name, force)
    if (folder / CA).exists() != (folder / CA_KEY).exists():
        raise UsageError(f"{folder} holds one of {CA} and {CA_KEY}: put the other one back, or choose another --out")
    if (folder / CA).exists():
        authority = read_certificate(folder / CA)
        authority_key = _private_key(folder / CA_KEY)
    else:
        authority, authority_key = _authority()
        write_secret(folder / CA_KEY, _pem(authority_key))
        write_atomic(folder / CA, authority.public_bytes(serialization.Encoding.PEM))
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(names[0], alternatives, key, authority, authority_key, days)
    write_secret(folder / KEY, _pem(key))
    write_atomic(folder / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))


def make_client_keys(folder: Path, *, force: bool = False) -> Path:
    """Write client.key for the client alone and client.key.pub for the server; returns the path of the latter."""
    private = folder / CLIENT_KEY
    public = private.with_name(private.name + ".pub")
    for path in (private, public):
        _require_free(path, force)
    key = ec.generate_private_key(ec.SECP384R1())
    encoding = serialization.Encoding.PEM
    form = serialization.PrivateFormat.OpenSSH
    write_secret(private, key.private_bytes(encoding, form, serialization.NoEncryption()))
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    write_atomic(public, line + b" mosaic-fl\n")
    return public


def read_certificate(path: Path) -> x509.Certificate:
    """The certificate in a PEM file; raises UsageError that names the file."""
    try:
        content = read_bytes(path, MAX_KEY)
    except UsageError as error:
        raise UsageError(f"{error}; mosaic deploy keys server makes it") from error
    try:
        certificate = x509.load_pem_x509_certificate(content)
        # The library parses these parts at their first use: here, so that the error of a broken part is raised here.
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.public_key()
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.signature_algorithm_oid
        return certificate
    except Exception as error:  # for a broken file the library raises errors of many kinds
        raise UsageError(f"{path} is not a certificate (PEM): mosaic deploy keys server makes one") from error


def read_private_key(path: Path) -> PrivateKeyTypes:
    """The private key in a PEM file without a password; raises UsageError that names the file."""
    content = read_bytes(path, MAX_KEY)
    try:
        return serialization.load_pem_private_key(content, None)
    except Exception as error:  # for a broken file the library raises errors of many kinds
        raise UsageError(
            f"{path} is not a private key (PEM, without a password): mosaic deploy keys server --force makes a new pair"
        ) from error


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = read_private_key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UsageError(f"{path} is no elliptic-curve key: mosaic deploy keys server makes one")
    return key


def _authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A new authority: its certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("mosaic-fl authority")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = _builder(name, name, key, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    return builder.sign(key, hashes.SHA256()), key


def _certificate(
    name: str,
    alternatives: x509.SubjectAlternativeName,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    days: float,
) -> x509.Certificate:
    """A certificate for `name` and `alternatives`, signed by `authority`."""
    builder = _builder(_name(name), authority.subject, key, days)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(alternatives, critical=False).add_extension(issuer, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(authority_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: float
) -> x509.CertificateBuilder:
    """A builder with the parts that all certificates have."""
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    begin = min(datetime.datetime.now(datetime.UTC), end) - BACKDATED
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general_name(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    if len(host) > LONGEST_HOST or not HOST.fullmatch(host) or host.rpartition(".")[2].isdecimal():
        raise UsageError(
            f"--host {host!r} is neither an address nor a host name: write what clients call, without scheme and port, "
            "as mosaic.example.org"
        )
    return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _require_free(path: Path, force: bool) -> None:
    """Raise UsageError if `path` exists and `force` is false."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists: add --force to make another one, or choose another --out")
