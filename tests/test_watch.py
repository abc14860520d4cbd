"""What is told is kept, whatever kills the process, and is said as lines and as metrics."""

import io
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from command import ENVIRONMENT
from mosaic_fl.errors import UsageError
from mosaic_fl.runs.folder import OURS
from mosaic_fl.watch import Event, Status, Watch, apply, serve_metrics
from mosaic_fl.watch import watch as module
from mosaic_fl.watch.event import clean, parse, read_events
from mosaic_fl.watch.reading import read_status
from mosaic_fl.watch.rules import fold
from mosaic_fl.watch.words import sentence, size, span


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def contribute(watch: Watch) -> None:
    """Clients 0 and 1 are asked, 0 has answered, 1 is left out."""
    watch.tell("run_started", expected=[0, 1])
    watch.tell("joined", 0, node=2**63, architecture="cnn:16", samples=367)
    watch.tell("stage_started", stage="contribute", expected=[0, 1], limit=1800)
    watch.tell("asked", 0, stage="contribute")
    watch.tell("received", 0, stage="contribute", bytes=1_234_567, seconds=34.2)
    watch.tell("left_out", 1, stage="contribute", reason="never joined")


def on_disk(folder: Path) -> Status:
    status = read_status(folder)
    assert status is not None
    return status


def test_what_is_told_is_on_disk_at_once(tmp_path: Path) -> None:
    with Watch(tmp_path / "new" / "run", stream=None) as watch:
        contribute(watch)
        assert on_disk(watch.folder) == watch.status == fold(read_events(watch.folder / "events.jsonl"))
        assert (watch.status.pid, watch.status.received) == (os.getpid(), (0,))
        assert {path.name for path in watch.folder.iterdir()} == {"events.jsonl", "status.json"} <= {*OURS}
    watch.tell("run_finished")  # too late
    assert on_disk(watch.folder).state == "running"


def test_killed_and_continued(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_watch import Watch, contribute
contribute(Watch(Path(sys.argv[1]), stream=None))
os.kill(os.getpid(), signal.SIGKILL)
"""
    words = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(words, env=ENVIRONMENT).returncode == -9
    with Watch(tmp_path, stream=None) as watch:
        assert watch.status == on_disk(tmp_path)
        assert watch.status.restarts == 0
        watch.tell("run_started", expected=[0, 1])
        assert (watch.status.restarts, watch.status.state) == (1, "waiting")
        assert (watch.status.clients[0].architecture, watch.status.bytes) == ("cnn:16", 1_234_567)
        assert watch.status.left_out_json() == [{"client": 1, "stage": "contribute", "reason": "never joined"}]


def test_a_torn_last_line_is_cut_off_and_a_whole_one_ended(tmp_path: Path) -> None:
    with Watch(tmp_path, stream=None) as watch:
        contribute(watch)
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    last = len(whole) - whole[:-1].rindex(b"\n") - 1
    for cut in (*range(1, last + 1, 7), last, len(whole)):
        path.write_bytes(whole[:-cut])
        assert len(read_events(path)) == (6 if cut == 1 else 5 if cut <= last else 0)
        with Watch(tmp_path, stream=None) as watch:
            watch.tell("run_finished")
        content = path.read_bytes().splitlines()
        assert all(parse(line) is not None for line in content)
        assert len(content) == (7 if cut == 1 else 6 if cut <= last else 1)


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(
        b'{"time": 1, "kind": "run_st\n\n[]\n\xff\n'
        b'{"time": 1, "kind": "of a later version", "client": 1, "facts": {}}\n'
        b'{"time": 2, "kind": "joined", "client": 3, "facts": {"node": "n"}}\n'
    )
    with Watch(tmp_path, stream=None) as watch:
        assert list(watch.status.clients) == [3]


def test_progress_is_written_once_a_second_and_all_else_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[float] = []
    clock, write = Clock(), module.write_atomic

    def count(path: Path, data: bytes | str) -> None:
        written.append(clock.now)
        write(path, data)

    monkeypatch.setattr(module, "write_atomic", count)
    with Watch(tmp_path, stream=None, clock=clock) as watch:
        for step in range(1, 3000):  # a millisecond each
            clock.now += 0.001
            watch.listen("student", -1, step, 3000)
        assert len(written) == 3
        assert (watch.status.done, on_disk(tmp_path).done) == (2999, 2001)
        watch.listen("student", 2, 1, 3000)  # a client's own progress is none of the server's
        watch.tell("joined", 0)
        watch.tell("joined", 1)
        assert len(written) == 5
        watch.listen("student", -1, 3000, 3000)  # the stage ends: said at once
        assert on_disk(tmp_path).finished == ("student",)
        watch.listen("student", -1, 1, 1)  # as the journal says once more
        kept = [event for event in read_events(tmp_path / "events.jsonl") if event.kind == "stage_progress"]
        assert [event.facts["done"] for event in kept] == [1, *range(300, 3001, 300)]
        watch.listen("meta", -1, 1, 3000)
        clock.now -= 3600  # a clock that was set back stops nothing
        watch.listen("meta", -1, 2, 3000)
        assert on_disk(tmp_path).done == 2
        clock.now += 0.5
        watch.listen("meta", -1, 3, 3000)
        assert on_disk(tmp_path).done == 2
    assert on_disk(tmp_path).done == 3


def test_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(status: Status, event: Event) -> Status:
        after = apply(status, event)
        time.sleep(0.0005)  # lets another thread in, where nothing keeps it out
        return after

    monkeypatch.setattr(module, "apply", slow)
    with Watch(tmp_path, stream=None) as watch:
        watch.tell("stage_started", stage="contribute", expected=range(8))

        def work(client: int) -> None:
            for _ in range(3):
                watch.tell("asked", client, stage="contribute")
                watch.tell("received", client, stage="contribute", bytes=10)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert watch.status.received == tuple(range(8))
        assert watch.status.bytes == 8 * 3 * 10
        assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 1 + 8 * 6
        assert on_disk(tmp_path) == watch.status


def test_lines_for_people_and_for_machines(tmp_path: Path) -> None:
    people, machines = io.StringIO(), io.StringIO()
    with Watch(tmp_path / "a", stream=people) as one, Watch(tmp_path / "b", True, machines) as two:
        contribute(one)
        contribute(two)
    said = people.getvalue().splitlines()
    assert [line[2] + line[5] + line[8] for line in said] == [":: "] * 6
    assert [line[9:] for line in said[1:]] == [
        "client 0: joined with cnn:16, 367 samples",
        "stage contribute started, 2 clients, at most 30 min",
        "client 0: asked to contribute",
        "client 0: contribution received, 1.2 MB after 34 s",
        "client 1: left out of contribute: never joined",
    ]
    told = [json.loads(line) for line in machines.getvalue().splitlines()]
    assert [(one["level"], one["kind"], one["client"]) for one in told[-2:]] == [
        ("info", "received", 0),
        ("warning", "left_out", 1),
    ]
    assert told[-1]["message"] == said[-1][9:]
    assert not logging.getLogger("mosaic_fl.watch").handlers


def test_logging_can_be_redirected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), Watch(tmp_path, stream=None) as watch:
        watch.tell("run_failed", reason="no memory")
    assert caplog.record_tuples == [("mosaic_fl.watch", logging.ERROR, "run failed: no memory")]


def test_every_kind_has_a_sentence() -> None:
    assert sentence(Event(0, "returned", 2)) == "client 2: is back"
    assert sentence(Event(0, "stage_finished", facts={"stage": "meta"})) == "stage meta finished"
    assert (
        sentence(Event(0, "received", 1, {"stage": "choose", "kept": True})) == "client 1: choose is here from before"
    )
    assert sentence(Event(0, "refused", 1, {"reason": "bad hash"})) == "client 1: answer refused: bad hash"
    assert [span(s) for s in (0.4, 119, 120, 7000, 7200, 200_000)] == [
        "0 s",
        "119 s",
        "2 min",
        "117 min",
        "2.0 h",
        "2.3 days",
    ]
    assert [size(b) for b in (999, 56_000, 1_234_567, 3.4e9)] == ["999 bytes", "56 kB", "1.2 MB", "3.4 GB"]


def test_what_clients_say_is_made_harmless() -> None:
    assert clean("two\nlines\x1b[31m\ud800") == "two lines [31m"
    assert len(str(clean("x" * 10_000))) == 500
    assert clean(float("nan")) is None
    assert clean({2, 1}) == [1, 2]
    assert clean(Path("a")) == "a"
    event = Event(1.5, "refused", 2, {"reason": "ä", "stage": ""})
    assert parse(event.to_json()) == event


def test_a_disk_that_fails_stops_no_run(tmp_path: Path) -> None:
    stream = io.StringIO()
    with Watch(tmp_path, stream=stream) as watch:
        (tmp_path / "events.jsonl").mkdir()
        (tmp_path / "status.json").mkdir()
        watch.tell("joined", 0)
        watch.tell("joined", 1)
        assert stream.getvalue().count("cannot write") == 1
        (tmp_path / "events.jsonl").rmdir()
        (tmp_path / "events.jsonl").write_text('{"half a li')
        watch.tell("joined", 2)
    assert [event.client for event in read_events(tmp_path / "events.jsonl")] == [2]


def test_metrics_over_http(tmp_path: Path) -> None:
    clock = Clock()
    with Watch(tmp_path, stream=None, clock=clock) as watch, serve_metrics(watch, 0) as server:

        def scrape() -> dict[str, float]:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

        assert scrape()['mosaic_run_state{state="waiting"}'] == 1
        contribute(watch)
        clock.now += 90
        told = scrape()
        assert told['mosaic_clients{state="received"}'] == told['mosaic_clients{state="left_out"}'] == 1
        assert told['mosaic_clients{state="working"}'] == 0
        assert told["mosaic_received_bytes_total"] == 1_234_567
        assert told["mosaic_left_out_total"] == 1
        assert told['mosaic_stage_info{stage="contribute"}'] == 1
        assert told["mosaic_stage_seconds"] == 90
        assert (told['mosaic_run_state{state="running"}'], told['mosaic_run_state{state="waiting"}']) == (1, 0)


def test_a_port_is_freed_and_a_taken_one_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(threading.enumerate())
    with Watch(tmp_path, stream=None) as watch, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for wrong in (port, 70_000):
            with pytest.raises(UsageError, match=f"cannot serve metrics at 127.0.0.1:{wrong}: .*; choose another port"):
                serve_metrics(watch, wrong)
        taken.close()
        for _ in range(2):  # twice on the same port: the first has given it back
            server = serve_metrics(watch, port)
            server.close()
            server.close()
        monkeypatch.setitem(sys.modules, "prometheus_client", None)
        with pytest.raises(UsageError, match=r"mosaic-fl\[flower\]"):
            serve_metrics(watch, 0)
    assert set(threading.enumerate()) <= before
