"""What passes the proxy of a deployment: a node's own calls, to the letter, and nothing else."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from importlib.metadata import version

import pytest

pytest.importorskip("flwr")

from mosaic_fl.deploy.proxy import FLEET
from proxy_bench import CALL, OTHERS, Bench, proxied


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with proxied(tmp_path_factory.mktemp("proxy")) as running:
        yield running


def test_a_nodes_calls_reach_the_hub_by_their_names_with_their_bodies_and_headers(bench: Bench) -> None:
    for call in FLEET:
        bench.came.clear()
        given = {"Content-Type": "application/x-protobuf", "Accept": "a/b", "flwr-package-name": "flwr"}
        more = {"Cookie": "c", "X-Forwarded-For": "1.2.3.4", "Host": "elsewhere", "Accept-Encoding": "gzip"}
        status, said = bench.ask("POST", f"/v1/fleet/{call}", {**given, **more, **bench.signed()}, call.encode())
        assert (status, said) == (422, b"hub")
        assert (bench.last["content-type"], bench.last["flwr-package-name"]) == ("text/x", "hub")
        assert "X-Secret" not in bench.last
        ((method, path, headers, body),) = bench.came
        assert (method, path, body) == ("POST", f"/v1/fleet/{call}", call.encode())
        assert {name: headers[name.lower()] for name in given} == given
        assert headers["accept-encoding"] == "identity"
        assert headers["host"] == f"127.0.0.1:{bench.face.hub}"
        assert not headers.keys() & {"cookie", "x-forwarded-for"}


def test_anyone_may_ask_who_it_is_without_reaching_the_hub(bench: Bench) -> None:
    (mark,) = bench.face.clients
    bench.came.clear()
    status, body = bench.ask("GET", "/mosaic/hello", {"Content-Length": "5"}, b"hello")
    assert (status, json.loads(body)) == (200, {"mosaic_fl": version("mosaic-fl"), "keys": [mark]})
    assert not bench.came


@pytest.mark.parametrize("target", OTHERS)
def test_no_other_address_passes_even_signed(bench: Bench, target: str) -> None:
    """Byte for byte: nothing is decoded or joined before it is compared."""
    bench.came.clear()
    for method in ("POST", "GET", "CONNECT"):
        head = bench.head(f"{method} {target} HTTP/1.1", "Content-Length: 0")
        assert bench.says(f"{head}\r\n".encode()) in (400, 403)
    assert not bench.came


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "post", "CONNECT"])
def test_no_other_method_passes(bench: Bench, method: str) -> None:
    bench.came.clear()
    assert bench.says(f"{bench.head(f'{method} {CALL} HTTP/1.1')}\r\n".encode()) == 405
    if method != "GET":
        assert bench.says(f"{method} /mosaic/hello HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == 405
    assert not bench.came


UNCLEAR = [
    ("POST {call} HTTP/1.1", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("POST {call} HTTP/1.1", "Content-Length: +5\r\n\r\nhello"),
    ("POST {call} HTTP/1.1", "Content-Length: -1\r\n\r\nhello"),
    ("POST {call} HTTP/1.1", "Content-Length: 5, 6\r\n\r\nhello"),
    ("POST {call} HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("POST {call} HTTP/1.1", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("POST {call} HTTP/1.1", "A: \0\r\n\r\n"),
    ("POST {call} HTTP/1.1", "Host: y\r\n\r\n"),
    ("POST {call}", "\r\n"),
    ("POST  {call} HTTP/1.1", "\r\n"),
    ("POST {call} /v1/control/start-run HTTP/1.1", "\r\n"),
    ("\x16\x03\x01", "\r\n"),
]


@pytest.mark.parametrize(("request_line", "rest"), UNCLEAR)
def test_what_can_be_read_in_two_ways_is_not_read(bench: Bench, request_line: str, rest: str) -> None:
    """Each would pass if its head were taken for one that can be read: it is signed."""
    bench.came.clear()
    assert bench.says((bench.head(request_line.format(call=CALL)) + rest).encode()) == 400
    assert not bench.came


@pytest.mark.parametrize("length", [17_000, 100_000, 3_000_000])
@pytest.mark.parametrize(
    ("request_line", "line"),
    [("POST {call} HTTP/1.1", "A: {long}"), ("POST {call} HTTP/1.1", "{many}"), ("POST /{long} HTTP/1.1", "")],
)
def test_a_long_head_is_not_read(bench: Bench, request_line: str, line: str, length: int) -> None:
    """In one piece (403, 431), in more than one (400, and it may close before all is sent), or without an end."""
    bench.came.clear()
    texts = {"call": CALL, "long": "x" * length, "many": "\r\n".join(f"A{k}: {k}" for k in range(length // 4))}
    head = bench.head(request_line.format(**texts), *filter(None, [line.format(**texts)]))
    for end in ("\r\n", "A: b"):
        with contextlib.suppress(OSError, http.client.BadStatusLine):
            assert bench.says((head + end).encode()) in (400, 403, 431)
    assert not bench.came


def test_a_request_with_both_lengths_is_one_request(bench: Bench) -> None:
    """The classic of smuggling: what follows a chunked body is no second request for the hub."""
    bench.came.clear()
    inner = "POST /v1/control/start-run HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    lengths = (f"Content-Length: {len(inner) + 5}", "Transfer-Encoding: chunked")
    head = bench.head(f"POST {CALL} HTTP/1.1", *lengths)
    assert bench.says(f"{head}\r\n0\r\n\r\n{inner}".encode()) in (400, 422)
    assert bench.ask("POST", CALL, bench.signed())[0] == 422  # a moment later
    assert all(path == CALL and body == b"" for _, path, _, body in bench.came)
