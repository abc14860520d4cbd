"""Keys and certificates, and what a client says of a server that it cannot trust."""

import contextlib
import datetime
import email.utils
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from mosaic_fl.cli.main import main
from mosaic_fl.deploy.certificates import make_client_keys, make_server_keys, read_certificate
from mosaic_fl.deploy.checks import check_client_key, check_server_keys, client_public_keys, is_loopback
from mosaic_fl.deploy.reach import Answer, UnreachableError, ask
from mosaic_fl.errors import UsageError


def hosts_of(path: Path) -> list[str]:
    """The names and addresses that a certificate is for."""
    names = read_certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


@contextlib.contextmanager
def _server(keys: Path | None, date: datetime.datetime | None = None, said: object = None) -> Iterator[int]:
    """A server that answers every request with `said`, over TLS where it has keys; yields its port."""
    context = None
    if keys:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys / "server.pem", keys / "server.key")
    now = date or datetime.datetime.now(datetime.UTC)
    body = json.dumps(said).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nDate: {email.utils.format_datetime(now, usegmt=True)}\r\nContent-Length: {len(body)}\r\n"
    )

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection = listener.accept()[0]
            connection.settimeout(5)
            with context.wrap_socket(connection, server_side=True) if context else connection as stream:
                stream.recv(1000)
                stream.sendall(head.encode() + b"\r\n" + body)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):  # ends a thread that still waits
            socket.create_connection(listener.getsockname(), 1).close()
        thread.join()


@pytest.mark.parametrize(
    "words",
    [
        "--host a.example --host b.example,127.0.0.1 --host=::1",
        "--host a.example,b.example,127.0.0.1,::1",
        "--host a.example --host a.example --host b.example --host 127.0.0.1 --host [::1]",
    ],
)
def test_every_host_enters_the_certificate(tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["deploy", "keys", "server", *words.split(), "--out", "keys"])
    assert ended.value.code == 0
    assert hosts_of(tmp_path / "keys" / "server.pem") == ["a.example", "b.example", "127.0.0.1", "::1"]


def test_the_servers_keys_are_whole_private_and_for_its_hosts(tmp_path: Path) -> None:
    make_server_keys(["localhost", "127.0.0.1", "::1"], tmp_path)
    check_server_keys(tmp_path)
    assert hosts_of(tmp_path / "server.pem") == ["localhost", "127.0.0.1", "::1"]
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {
        "ca.key": 0o600,
        "server.key": 0o600,
    }
    with pytest.raises(UsageError, match=r"server.pem exists: add --force"):
        make_server_keys(["localhost"], tmp_path)


def test_a_renewed_certificate_has_the_same_authority(tmp_path: Path) -> None:
    make_server_keys(["localhost"], tmp_path)
    authority, certificate = (tmp_path / "ca.crt").read_bytes(), (tmp_path / "server.pem").read_bytes()
    make_server_keys(["localhost"], tmp_path, force=True)
    check_server_keys(tmp_path)
    assert (tmp_path / "ca.crt").read_bytes() == authority
    assert (tmp_path / "server.pem").read_bytes() != certificate


def test_wrong_keys_of_a_server_end_in_one_line(tmp_path: Path) -> None:
    one, two, old = tmp_path / "one", tmp_path / "two", tmp_path / "old"
    make_server_keys(["localhost"], one)
    make_server_keys(["localhost"], two)
    make_server_keys(["localhost"], old, days=-1)
    with pytest.raises(UsageError, match=r"server.pem expired on .*renews it"):
        check_server_keys(old)
    (one / "server.key").write_bytes((two / "server.key").read_bytes())
    with pytest.raises(UsageError, match=r"server.pem does not belong to .*server.key"):
        check_server_keys(one)
    (two / "ca.crt").write_bytes((one / "ca.crt").read_bytes())
    with pytest.raises(UsageError, match=r"was not signed by .*ca.crt"):
        check_server_keys(two)
    (two / "ca.crt").write_text("nonsense")
    with pytest.raises(UsageError, match="is not a certificate"):
        check_server_keys(two)
    with pytest.raises(UsageError, match=r"cannot read .*mosaic deploy keys server makes it"):
        check_server_keys(tmp_path)


def test_clients_keys(tmp_path: Path) -> None:
    public = make_client_keys(tmp_path / "a")
    mark = check_client_key(tmp_path / "a" / "client.key")
    assert client_public_keys(tmp_path / "a") == {mark: public}
    with pytest.raises(UsageError, match="name the private key"):
        check_client_key(public)
    (tmp_path / "a" / "copy.pub").write_bytes(public.read_bytes())
    with pytest.raises(UsageError, match="are the same key"):
        client_public_keys(tmp_path / "a")
    (tmp_path / "a" / "client.key").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        check_client_key(tmp_path / "a" / "client.key")
    wrong = ed25519.Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.OpenSSH
    content = wrong.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (tmp_path / "ed25519").write_bytes(content)
    with pytest.raises(UsageError, match="wrong kind"):
        check_client_key(tmp_path / "ed25519")
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match=r"holds no .pub file"):
        client_public_keys(tmp_path / "none")


def test_a_server_that_can_be_trusted_is_heard(tmp_path: Path) -> None:
    make_server_keys(["127.0.0.1"], tmp_path)
    with _server(tmp_path, said={"mosaic_fl": "1.2", "keys": ["a"]}) as port:
        assert ask("127.0.0.1", port, tmp_path / "ca.crt") == Answer("1.2", frozenset("a"))
    with _server(tmp_path, said=["nonsense"]) as port:
        assert ask("127.0.0.1", port, tmp_path / "ca.crt") == Answer()


def test_a_server_that_cannot_be_trusted_ends_in_one_line(tmp_path: Path) -> None:
    good, other, old, named = (tmp_path / name for name in ("good", "other", "old", "named"))
    for folder, host, days in (
        (good, "127.0.0.1", 9),
        (other, "127.0.0.1", 9),
        (old, "127.0.0.1", -1),
        (named, "a", 9),
    ):
        make_server_keys([host], folder, days=days)
    for keys, authority, said in (
        (good, other, "was not signed by"), (old, old, "has expired"), (named, named, "is not for 127.0.0.1")
    ):  # fmt: skip
        with _server(keys) as port, pytest.raises(UsageError, match=said):
            ask("127.0.0.1", port, authority / "ca.crt")
    with _server(None) as port, pytest.raises((UsageError, UnreachableError)):
        ask("127.0.0.1", port, good / "ca.crt")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UnreachableError, match=r"does not answer \(Connection refused\)"):
        ask("127.0.0.1", port, good / "ca.crt")


@pytest.mark.parametrize(("hours", "words"), [(1, "behind"), (-1, "ahead of")])
def test_a_clock_that_is_wrong_by_an_hour_is_named(tmp_path: Path, hours: int, words: str) -> None:
    make_server_keys(["127.0.0.1"], tmp_path)
    date = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    with _server(tmp_path, date) as port, pytest.raises(UsageError, match=rf"(60|59) min \d+ s {words} that of 127"):
        ask("127.0.0.1", port, tmp_path / "ca.crt")


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.168.1.1", "example.org", "::")))  # noqa: S104


@pytest.mark.parametrize(
    "host",
    ["a b", "https://a.org", "a.org:8443", "a..b", ".a", "-a", "a-", "a/b", "münchen.de", "10.0.0.300", "x" * 64,
     ".".join(["x" * 50] * 6), "a.*.b", "a\nb"],
)  # fmt: skip
def test_a_name_that_nobody_can_call_gets_no_certificate(host: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_server_keys(["localhost", host], tmp_path / "keys")
    assert f"--host {host!r} is neither an address nor a host name" in str(caught.value)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("host", ["a", "a-b.example.org", "*.example.org", "fl_server", "4you.org", "fe80::1", "[::1]"])
def test_a_name_that_can_be_called_gets_one(host: str, tmp_path: Path) -> None:
    make_server_keys([host], tmp_path)
    assert (tmp_path / "server.pem").exists()
