"""What the proxy of a deployment bears: strangers' bodies, what trickles in, too many, a hub that is gone."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("flwr")

from flower_processes import wait_for
from mosaic_fl.deploy.processes import Processes, free_port
from mosaic_fl.deploy.proxy import LARGEST
from proxy_bench import CALL, Bench, Hub, proxied, start_proxy

HEAD, EXCHANGE = 1.0, 2.0  # seconds: short, to see them end


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with proxied(tmp_path_factory.mktemp("proxy")) as running:
        yield running


@pytest.fixture
def hasty(bench: Bench) -> Iterator[Bench]:
    """A proxy of the same keys and hub that bears seconds and four connections."""
    face = replace(bench.face, port=free_port(), head=HEAD, exchange=EXCHANGE, connections=4)
    with Processes() as processes:
        yield replace(bench, face=face, proxy=start_proxy(processes, face, bench.folder))


def test_a_strangers_body_is_not_read(bench: Bench) -> None:
    """401 comes after the head, and neither proxy nor hub has seen a byte of the body."""
    bench.came.clear()
    right, wrong = bench.signed(), bench.signed("unknown")
    forged = {**right, "flwr-signature": wrong["flwr-signature"]}
    older = {**right, "flwr-timestamp": "2020-01-01T00:00:00+00:00"}
    odd = {**right, "flwr-signature": "no base64!"}
    half = {name: value for name, value in right.items() if name != "flwr-signature"}
    for headers in ({}, wrong, forged, older, odd, half, {"flwr-public-key": ""}):
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        for length in (1, LARGEST, 10**15):
            head = f"POST {CALL} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{lines}\r\n"
            assert bench.says(head.encode()) == 401
    assert not bench.came


def test_a_body_of_16_mib_passes_and_one_byte_more_does_not(bench: Bench) -> None:
    bench.came.clear()
    body = bytes(range(256)) * (LARGEST // 256)
    assert bench.ask("POST", CALL, bench.signed(), body)[0] == 422
    assert bench.came[0][3] == body
    bench.came.clear()
    head = bench.head()
    assert bench.says(f"{head}Content-Length: {LARGEST + 1}\r\n\r\n".encode()) == 413
    with bench.connect() as connection:  # of a length that is not told before
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with pytest.raises(OSError), connection:  # noqa: PT011, PT012  which of its kinds depends on the moment
            for _ in range(LARGEST // (1 << 20) + 8):
                connection.sendall(b"100000\r\n" + b"x" * (1 << 20) + b"\r\n")
                time.sleep(0.02)
    assert not bench.came


def test_it_keeps_a_connection_for_the_next_request_and_for_pipelined_ones(bench: Bench) -> None:
    bench.came.clear()
    one = f"{bench.head()}Content-Length: 1\r\n\r\n1".encode()
    with bench.connect() as connection:
        for requests in (1, 3):
            connection.sendall(one * requests)
            for _ in range(requests):
                response = http.client.HTTPResponse(connection)
                response.begin()
                assert (response.status, response.read()) == (422, b"hub")
    assert len(bench.came) == 4


def test_what_trickles_in_is_cut_off(hasty: Bench) -> None:
    head = hasty.head() + "Content-Length: 1000\r\n"
    assert HEAD * 0.8 < _seconds_of_dripping(hasty.connect(), b"") < HEAD + 3  # nothing at all
    assert HEAD * 0.8 < _seconds_of_dripping(hasty.connect(), head.encode()) < HEAD + 3  # a head without an end
    assert EXCHANGE * 0.8 < _seconds_of_dripping(hasty.connect(), f"{head}\r\n".encode()) < EXCHANGE + 3  # a body
    plain = socket.create_connection(("127.0.0.1", hasty.face.port), 20)  # no handshake
    assert HEAD * 0.8 < _seconds_of_dripping(plain, b"", drip=b"") < HEAD + 3
    assert hasty.ask("POST", CALL, hasty.signed())[0] == 422


def _seconds_of_dripping(connection: socket.socket, begin: bytes, drip: bytes = b"x") -> float:
    """How long a connection lives that brings a byte ten times a second after `begin`."""
    started = time.monotonic()
    with connection:
        connection.settimeout(0.1)
        try:
            connection.sendall(begin)
            while time.monotonic() - started < 15:
                try:
                    if not connection.recv(100):
                        break
                except TimeoutError:
                    if drip:
                        connection.sendall(drip)
        except OSError:
            pass
        return time.monotonic() - started


def test_who_reads_slowly_gets_the_whole_answer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is that of the exchange, not of a head: a line of 56 kB a second needs 90 s for 5 MiB."""
    monkeypatch.setattr(Hub, "answer", bytes(range(256)) * (16 << 12))  # 16 MiB: more than the system's buffers hold
    face = replace(bench.face, port=free_port(), head=HEAD, exchange=60.0)
    with Processes() as processes:
        slow = replace(bench, face=face, proxy=start_proxy(processes, face, bench.folder))
        with slow.connect() as connection:
            connection.sendall(f"{slow.head()}Content-Length: 0\r\n\r\n".encode())
            time.sleep(2 * HEAD)
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.read() == Hub.answer


def test_idle_connections_keep_nobody_out(bench: Bench) -> None:
    """Where there are too many, the one that has been idle for longest goes; who is at work stays."""
    face = replace(bench.face, port=free_port(), head=60.0, exchange=60.0, connections=4)
    with Processes() as processes:
        _too_many_at(replace(bench, face=face, proxy=start_proxy(processes, face, bench.folder)))


def _too_many_at(proxy: Bench) -> None:
    working = proxy.connect()
    working.sendall(f"{proxy.head()}Content-Length: 4\r\n\r\nab".encode())
    time.sleep(0.2)
    idle = [proxy.connect() for _ in range(12)]
    wait_for(lambda: sum(map(_is_open, idle)) <= 3, 20, "all but three idle ones have been cut")
    assert proxy.ask("POST", CALL, proxy.signed())[0] == 422
    working.sendall(b"cd")
    response = http.client.HTTPResponse(working)
    response.begin()
    assert response.status == 422
    for connection in (working, *idle):
        connection.close()


def _is_open(connection: ssl.SSLSocket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1))
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_tls_is_1_2_or_newer(bench: Bench) -> None:
    for newest in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2):
        context = bench.tls()
        context.set_ciphers("DEFAULT@SECLEVEL=0")  # or this side would not even ask
        context.minimum_version = context.maximum_version = newest
        plain = socket.create_connection(("127.0.0.1", bench.face.port), 20)
        if newest == ssl.TLSVersion.TLSv1_1:
            with plain, pytest.raises(ssl.SSLError, match="(?i)version|eof"):
                context.wrap_socket(plain, server_hostname="127.0.0.1")
        else:
            with context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                assert connection.version() == "TLSv1.2"


def test_a_hub_that_is_gone_is_told_once_and_asked_again(bench: Bench) -> None:
    """By what Flower's nodes try again after: 502."""
    face = replace(bench.face, port=free_port(), hub=free_port())
    with Processes() as processes:
        proxy = start_proxy(processes, face, bench.folder)
        lonely = replace(bench, face=face, proxy=proxy)
        for _ in range(3):
            assert lonely.ask("POST", CALL, lonely.signed())[0] == 502
        assert lonely.ask("GET", "/mosaic/hello")[0] == 200
        assert proxy.output().count("the hub does not answer: ConnectError") == 1


def test_strangers_fill_no_log(bench: Bench) -> None:
    with bench.connect() as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        connection.recv(1000)
    socket.create_connection(("127.0.0.1", bench.face.port)).close()
    assert bench.ask("GET", "/mosaic/hello")[0] == 200  # by now it has seen both
    assert bench.proxy.output() == ""
    assert bench.proxy.process.poll() is None
