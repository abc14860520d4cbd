"""`mosaic status --web`: the real command as a process, what it answers and whom it refuses, and what the page says."""

import fcntl
import http.client
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from command import fails, mosaic, start
from live_page import EVIL, grow, serving
from mosaic_fl.report.live import head
from mosaic_fl.report.live.figures import progress_of, seconds_left
from mosaic_fl.report.live.local import arrivals_of
from mosaic_fl.report.live.server import PageServer
from mosaic_fl.report.live.snapshot import read_snapshot
from mosaic_fl.report.live.view import view_of
from mosaic_fl.watch import Event, Watch
from mosaic_fl.watch.recent import recent_events


def local(folder: Path, contributions: int = 2) -> Path:
    """The folder of a simulation of three clients with some of their contributions."""
    (folder / "contributions").mkdir(parents=True)
    for k in range(contributions):
        (folder / "contributions" / f"client-{k:03}.contribution").write_bytes(b"1234")
    (folder / "config.toml").write_text("[partition]\nclients = 3\n")
    (folder / "inputs.json").write_text('{"mosaic_fl": "0.1.0", "command": "run"}')
    return folder


def ask(url: str, path: str | None = None, method: str = "GET", **headers: str) -> tuple[int, str]:
    """(status code, content) of a request; the header Host is that of the URL unless `headers` has another."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=10)
    connection.putrequest(method, parts.path if path is None else path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Watch, Path]]:
    folder = tmp_path_factory.mktemp("runs") / "net"
    with grow(folder) as watch:
        yield watch, folder


@pytest.fixture(scope="module")
def process(net: tuple[Watch, Path]) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The command at work on the federation, and the address that it printed."""
    one = start("status", net[1], "--web", cwd=net[1].parent)
    assert one.stdout is not None
    printed = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", one.stdout.readline())
    assert printed is not None
    yield one, printed.group()
    one.kill()
    one.communicate()


def test_the_command_serves_the_page_and_ends_by_ctrl_c(
    net: tuple[Watch, Path], process: tuple["subprocess.Popen[str]", str]
) -> None:
    watch, folder = net
    one, url = process
    code, page = ask(url)
    assert code == 200
    assert "stage contribute: 1 of 3 answers, 1 left out" in page
    assert EVIL not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 3  # the node, the note, what was left out
    assert ask(url, urlsplit(url).path + "status.json") == (200, mosaic("status", folder, "--json", cwd=folder.parent))
    watch.tell("received", 1, stage="contribute", bytes=5)
    assert "stage contribute: 2 of 3 answers" in ask(url)[1]
    one.send_signal(signal.SIGINT)
    out, err = one.communicate(timeout=20)
    assert (one.returncode, out, err) == (0, "", "")


def test_its_address_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(server: PageServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(PageServer, "serve_forever", interrupt)
    told = json.loads(mosaic("status", local(tmp_path / "one"), "--web", "--json", cwd=tmp_path))
    assert set(told) == {"folder", "url"}
    assert told["url"].startswith("http://127.0.0.1:")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page in this process."""
    with serving(local(tmp_path_factory.mktemp("runs") / "one")) as address:
        yield address


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "LOCALHOST"])
def test_the_names_of_loopback_are_let_in(page: str, host: str) -> None:
    assert ask(page, Host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "evil@localhost", ""])
def test_other_hosts_are_refused(page: str, host: str) -> None:
    assert ask(page, Host=host) == (403, "refused: this page is for 127.0.0.1 and localhost alone\n")


@pytest.mark.parametrize("path", ["/", "/status.json", "/" + "a" * 32 + "/", "/%00/", "/../"])
def test_without_the_token_all_is_refused(page: str, path: str) -> None:
    code, words = ask(page, path)
    assert (code, words.partition(":")[0]) == (403, "refused")


def test_nothing_but_the_page_is_there(page: str) -> None:
    base = urlsplit(page).path
    for path in ("inputs.json", "../inputs.json", "contributions/", "status.html.j2", "style.css/", "%2e%2e/", "/"):
        assert ask(page, base + path)[0] == 404
    assert ask(page, base.rstrip("/"))[0] == 404
    assert ask(page, "http://evil.example" + base)[0] == 403
    for path in ("style.css", "status.css", "status.js"):
        assert ask(page, base + path)[0] == 200


def test_it_is_only_read(page: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "ODD"):
        assert ask(page, method=method) == (405, "refused: this page is only read\n")
    assert ask(page, method="HEAD") == (200, "")


def answer_to(page: str, content: bytes) -> bytes:
    """All that the server says to these bytes."""
    with socket.create_connection(("127.0.0.1", urlsplit(page).port or 0), timeout=10) as connection:
        connection.sendall(content)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_limits_of_the_head(page: str) -> None:
    path = urlsplit(page).path.encode()
    whole = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n"
    assert answer_to(page, whole + b"X: a\r\n\r\n").startswith(b"HTTP/1.0 200")
    assert answer_to(page, whole + b"Host: evil.example\r\n\r\n").startswith(b"HTTP/1.0 403")  # two are none
    assert answer_to(page, b"GET " + path + b"\r\n\r\n").startswith(b"HTTP/1.0 403")  # HTTP/0.9 has no Host
    assert answer_to(page, b"\x16\x03\x01 of TLS\r\n\r\n").startswith(b"HTTP/1.0 400")
    assert answer_to(page, whole.ljust(head.MAX_BYTES + 1, b"a")).startswith(b"HTTP/1.0 431")
    assert answer_to(page, b"GET /\xc3\xa9\xff/ HTTP/1.1\r\nHost: localhost\r\n\r\n")[9:12] == b"403"


def test_the_head_must_come_in_time() -> None:
    """Bytes now and then do not prolong it."""
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"GET / HTTP/1.1\r\n")
        assert head.read_head(near, seconds=0.05) is None
        far.sendall(b"Host: localhost\r\n\r\nrest")
        assert head.read_head(near, seconds=5) == b"Host: localhost\r\n\r\n"


def test_headers_let_nothing_from_elsewhere_in(page: str) -> None:
    told = answer_to(page, b"GET " + urlsplit(page).path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    headers, _, body = told.partition(b"\r\n\r\n")
    assert b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in headers
    assert b"Cache-Control: no-store" in headers
    assert b"Python" not in headers
    assert set(re.findall(rb'(?:src|href)="([^"]*)"', body)) == {
        b"data:,", b"style.css", b"status.css", b"status.js", b"status.json",
    }  # fmt: skip


def test_a_folder_that_goes_is_told(tmp_path: Path) -> None:
    folder = local(tmp_path / "one")
    with serving(folder) as address:
        (folder / "inputs.json").unlink()
        code, words = ask(address)
        (folder / "inputs.json").write_text('{"mosaic_fl": "0.1.0", "command": "run"}')
        (folder / "result.json").write_text('{"left_out": [3]}')
        odd = ask(address)
    assert (code, words) == (503, f"{folder} is not the folder of a run: name what --out was\n")
    assert odd == (503, f"{folder}: there are figures that no run of this version writes\n")


def test_what_the_page_says_of_a_run_on_one_machine(tmp_path: Path) -> None:
    folder = local(tmp_path / EVIL.replace("/", ""))
    view = view_of(folder, read_snapshot(folder), 0.0)
    assert [row[:2] for row in view.rows] == [
        ("client-000", "received"),
        ("client-001", "received"),
        ("client-002", "missing"),
    ]
    assert view.headline == "stopped: 2 contributions"
    assert view.progress == pytest.approx(2 / 3)
    (folder / "result.json").write_text(
        json.dumps({"accuracy": 0.978, "choice": {"trust": {"clients": [{"client": 1, "state": "in_quarantine"}]}}})
    )
    (folder / "notes.json").write_text(json.dumps([f"column {EVIL} is not read"]))
    view = view_of(folder, read_snapshot(folder), 0.0)
    assert (view.figures[-1].value, view.progress, view.notes) == ("97.8 %", None, [f"column {EVIL} is not read"])
    assert view.left_out == ["client 1 is in-quarantine: "]


def test_time_left_and_progress(tmp_path: Path) -> None:
    """The server's own work by its pace, clients' work by the stage's limit, files by the pauses between them."""
    with Watch(tmp_path, stream=None, clock=lambda: 100.0) as watch:
        watch.tell("run_started", expected=[0, 1])
        watch.tell("stage_started", stage="contribute", expected=[0, 1], limit=600)
        watch.tell("received", 0, stage="contribute", bytes=5)
        view = view_of(tmp_path, read_snapshot(tmp_path), 160.0)
        assert view.progress == 0.5
        assert next(one.value for one in view.figures if one.name == "Time left") == "9 min"
        watch.tell("stage_progress", stage="student", done=1, total=100)
        watch.clock = lambda: 102.0
        watch.tell("stage_progress", stage="student", done=25, total=100)
        view = view_of(tmp_path, read_snapshot(tmp_path), 120.0)
        assert (view.progress, view.headline) == (0.25, "stage student: 20 % done")
        assert next(one.value for one in view.figures if one.name == "Time left") == "60 s"  # 20 s a quarter
        watch.tell("run_started", pid=2**22 + 1)  # no process has this number
        watch.tell("stage_started", stage="contribute", expected=[0, 1], limit=600)
        view = view_of(tmp_path, read_snapshot(tmp_path), 120.0)
        assert (view.figures[0].value, view.running, view.tone) == ("stopped", "", "bad")
        assert all(one.name != "Time left" for one in view.figures)
    assert seconds_left([10.0, 20.0, 30.0], 2, now=35.0) == 15.0
    assert seconds_left([10.0, 20.0, 30.0], 2, now=99.0) == 0.0
    assert seconds_left([10.0, 20.0], 2, now=35.0) is None


def test_a_comparison_at_work(tmp_path: Path) -> None:
    """Of six cells three are done, one every 10 s, and one has failed: two are left, of which 5 s have passed."""
    rows = [{"clients": 2, "alpha": 1, "architectures": "equal", "method": "fedavg", "rounds": r} for r in (1, 2, 3)]
    (tmp_path / "cells").mkdir()
    for k in range(3):
        (tmp_path / "cells" / f"{k}.json").touch()
        os.utime(tmp_path / "cells" / f"{k}.json", (1000 + 10 * k, 1000 + 10 * k))
    states = [{"status": state} for state in ("done", "done", "done", "failed")]
    (tmp_path / "table.json").write_text(json.dumps({"tables": rows, "cells": states}))
    marker = {"mosaic_fl": "0.1.0", "command": "compare", "options": {"seeds": "0,1"}}
    (tmp_path / "inputs.json").write_text(json.dumps(marker))
    work = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(work, fcntl.LOCK_EX)  # as a process that works there
    view = view_of(tmp_path, read_snapshot(tmp_path), 1025.0)
    os.close(work)
    assert view.progress == 0.5
    assert [(one.name, one.value) for one in view.figures[1:]] == [("Cells", "3 of 6"), ("Time left", "15 s")]
    assert [one.words for one in view.events] == ["cell 2 finished", "cell 1 finished", "cell 0 finished"]


def test_the_latest_events(tmp_path: Path) -> None:
    events = [Event(1.0, "joined", k, {"node": "n" * 50}) for k in range(2000)]
    events += [Event(2.0, "stage_progress", -1, {"stage": "student", "done": 1, "total": 2})]
    (tmp_path / "events.jsonl").write_text("".join(event.to_json() + "\n" for event in events) + '{"torn')
    assert (tmp_path / "events.jsonl").stat().st_size > 2**17
    assert [event.client for event in recent_events(tmp_path, 3)] == [1999, 1998, 1997]
    assert recent_events(tmp_path / "nowhere", 3) == []


def test_a_configuration_is_not_believed(tmp_path: Path) -> None:
    folder = local(tmp_path / "one", contributions=1)
    for content in ("[partition]\nclients = 1000000000\n", "partition = 3", "garbage", '[partition]\nclients = "3"'):
        (folder / "config.toml").write_text(content)
        snapshot = read_snapshot(folder)
        arrivals = arrivals_of(folder, snapshot.state)  # type: ignore[arg-type]
        assert list(arrivals) == ["client-000"]
        assert progress_of(snapshot.state, arrivals) is None


def test_wrong_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = local(tmp_path / "one")
    assert "--port 8000 is for --web" in fails(capsys, "status", folder, "--port", "8000")
    assert "leave --follow out" in fails(capsys, "status", folder, "--web", "--follow")
    assert "not the folder of a run" in fails(capsys, "status", tmp_path, "--web")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}: Address already in use; choose another" in fails(
            capsys, "status", folder, "--web", "--port", str(port)
        )
