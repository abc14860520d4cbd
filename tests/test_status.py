"""Where a run stands after what happened: laws of `apply` on hand-made events, and `mosaic status` on real folders."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from command import finish, mosaic, start
from mosaic_fl.cli.main import main
from mosaic_fl.report.status_lines import lines
from mosaic_fl.watch import Event, Kind, LeftOut, Status, Watch, apply
from mosaic_fl.watch.rules import fold

Told = tuple[Kind, int, dict[str, Any]]
START: Told = ("run_started", -1, {"expected": [0, 1, 2], "pid": 7, "host": "here"})
STAGE: Told = ("stage_started", -1, {"stage": "contribute", "expected": [0, 1, 2], "limit": 600})
JOINED: list[Told] = [
    ("joined", k, {"node": f"n{k}", "architecture": "cnn:16", "samples": 10 * (k + 1)}) for k in (0, 1, 2)
]
ASKED: list[Told] = [("asked", k, {"stage": "contribute"}) for k in (0, 1, 2)]
WORKING = [START, *JOINED, STAGE, *ASKED]


def received(client: int, bytes: int, **more: Any) -> Told:
    return "received", client, {"stage": "contribute", "bytes": bytes, "seconds": 3.0, **more}


def left_out(client: int, reason: str = "no answer", stage: str = "contribute") -> Told:
    return "left_out", client, {"stage": stage, "reason": reason}


def after(*told: Told) -> Status:
    """The status after these events, one a second from second 1."""
    return fold(Event(float(second), kind, client, facts) for second, (kind, client, facts) in enumerate(told, 1))


def states(status: Status) -> list[str]:
    return [client.state for _, client in sorted(status.clients.items())]


def test_from_the_start_to_the_end() -> None:
    status = after(START)
    assert (status.state, status.since, states(status)) == ("waiting", 1, ["expected"] * 3)
    assert status.waiting_for == (0, 1, 2)
    status = after(START, JOINED[1])
    assert (states(status), status.waiting_for) == (["expected", "joined", "expected"], (0, 2))
    status = after(*WORKING)
    assert (status.state, status.stage, status.limit, status.since) == ("running", "contribute", 600, 5)
    assert (states(status), status.received, status.waiting_for) == (["working"] * 3, (), (0, 1, 2))
    status = after(*WORKING, received(1, 100), left_out(2))
    assert (states(status), status.received, status.waiting_for) == (["working", "received", "left out"], (1,), (0,))
    status = after(*WORKING, received(1, 100), left_out(2), received(0, 11), ("stage_finished", -1, STAGE[2]))
    assert (status.stage, status.waiting_for, status.finished, status.bytes) == ("", (), ("contribute",), 111)
    assert (status.clients[1].node, status.clients[1].architecture, status.clients[1].samples) == ("n1", "cnn:16", 20)
    ended = apply(status, Event(99, "run_finished"))
    assert (ended.state, ended.since, ended.waiting_for) == ("finished", 99, ())
    failed = apply(after(*WORKING), Event(99, "run_failed", facts={"reason": "no memory"}))
    assert (failed.state, failed.stage, failed.reason, failed.waiting_for) == ("failed", "contribute", "no memory", ())


def test_every_expected_client_is_received_or_waited_for_or_left_out() -> None:
    told = [
        *WORKING,
        received(1, 5),
        ("refused", 0, {"reason": "torn"}),
        left_out(2),
        ("gone", 0, {}),
        ("returned", 0, {}),
    ]
    for count in range(5, len(told) + 1):
        status = after(*told[:count])
        out = {k for k in status.expected if status.clients[k].state == "left out"}
        assert sorted({*status.received, *status.waiting_for, *out}) == [0, 1, 2]
        assert len(status.received) + len(status.waiting_for) + len(out) == 3


def test_who_is_left_out_is_let_in_by_an_answer_after_all() -> None:
    out = after(*WORKING, left_out(2, "slow"), left_out(2, "no answer in 600 s"))
    assert out.left_out_json() == [{"client": 2, "stage": "contribute", "reason": "no answer in 600 s"}]
    assert out.clients[2].note == "no answer in 600 s"
    late = after(*WORKING, left_out(2), received(2, 5))
    assert (late.left_out, states(late)[2], late.clients[2].note) == ((), "received", "")
    back = after(*WORKING, left_out(2), ("returned", 2, {}))  # being back changes not that the stage went on
    assert (back.left_out, states(back)[2]) == ((LeftOut(2, "contribute", "no answer"),), "joined")
    again = after(*WORKING, left_out(2), STAGE)  # asked anew, so not left out of it yet
    assert (again.left_out, again.waiting_for, states(again)[2]) == ((), (0, 1, 2), "expected")
    assert [s.times_left_out for s in (out, late, back, again)] == [1, 1, 1, 1]  # a counter never falls


def test_a_refused_answer_is_still_waited_for_and_spoils_none_that_is_there() -> None:
    status = after(*WORKING, ("refused", 0, {"reason": "bad hash"}))
    assert (status.clients[0].state, status.clients[0].note) == ("joined", "refused: bad hash")
    assert 0 in status.waiting_for
    assert after(*WORKING, received(0, 5), ("refused", 0, {"reason": "twice"})).received == (0,)


def test_gone_and_returned() -> None:
    status = after(*WORKING, ("gone", 0, {"reason": "no ping"}))
    assert (states(status)[0], status.clients[0].note, status.clients[0].since) == ("gone", "no ping", 9)
    assert 0 in status.waiting_for
    assert states(after(*WORKING, ("gone", 0, {}), ("returned", 0, {})))[0] == "joined"
    assert after(*WORKING, received(0, 5), ("gone", 0, {}), ("returned", 0, {})).received == (0,)


def test_bytes_count_once_and_answers_count_for_their_own_stage() -> None:
    assert after(*WORKING, received(0, 100), received(0, 100)).bytes == 100
    assert after(*WORKING, received(0, 100, kept=True)).bytes == 0
    late = after(*WORKING, ("received", 0, {"stage": "round-000", "bytes": 7}), left_out(1, stage="round-000"))
    assert (late.received, late.bytes, states(late)) == ((), 7, ["working"] * 3)
    assert late.left_out == (LeftOut(1, "round-000", "no answer"),)
    following: Told = ("stage_started", -1, {"stage": "choose", "expected": [0, 1]})
    second = after(*WORKING, received(0, 100), following, ("received", 0, {"stage": "choose", "bytes": 5}))
    assert (second.bytes, second.received, second.waiting_for) == (105, (0,), (1,))
    assert after(*WORKING, received(0, 100), following).received == ()


def test_a_restart_keeps_answers_and_facts_and_asks_the_others_to_join_again() -> None:
    status = after(*WORKING, received(0, 100), left_out(1), ("run_started", -1, {"pid": 8, "expected": [0, 1, 2]}))
    assert (status.state, status.restarts, status.pid) == ("waiting", 1, 8)
    assert states(status) == ["received", "left out", "expected"]
    assert (status.clients[2].architecture, status.clients[0].bytes) == ("cnn:16", 100)
    resumed = after(*WORKING, received(0, 100), left_out(1), START, *JOINED, STAGE)
    assert (resumed.received, resumed.waiting_for, resumed.left_out) == ((0,), (1, 2), ())
    recalled = after(*WORKING, received(0, 100), START, *JOINED, STAGE, received(0, 100))
    assert recalled.bytes == 100


def test_the_servers_own_stages() -> None:
    def step(done: int, total: int = 100, stage: str = "student", client: int = -1) -> Told:
        return "stage_progress", client, {"stage": stage, "done": done, "total": total}

    status = after(*WORKING, received(0, 5), step(1), step(40))
    assert (status.stage, status.done, status.total, status.since) == ("student", 40, 100, 10)
    assert (status.expected, status.waiting_for, states(status)[0]) == ((), (), "received")
    assert after(step(40), step(100)).finished == ("student",)
    assert after(step(40), step(100)).stage == ""
    assert after(step(40), step(1, 1, "pool")).stage == "student"  # what a resume found in its folder
    assert after(*WORKING, step(3, client=1)) == after(*WORKING)


def test_json_and_back() -> None:
    for told in ([], WORKING, [*WORKING, received(0, 5), left_out(2)], [*WORKING, received(0, 5), START]):
        status = after(*told)
        content = json.loads(json.dumps(status.to_json()))
        assert Status.from_json(content | {"of a later version": 1}) == status
        assert content["waiting_for"] == list(status.waiting_for)
    for wrong in ([], {}, {"clients": [{}], "expected": []}, status.to_json() | {"state": "odd"}):
        with pytest.raises(ValueError, match="no stat"):
            Status.from_json(wrong)


def test_in_words() -> None:
    status = after(*WORKING, received(1, 100), left_out(2, "never joined"), ("gone", 0, {"reason": "no ping"}))
    first, *said = lines(status, 65.0, alive=False)
    assert first.startswith("stage contribute since ")
    assert first.endswith("(60 s of at most 10 min)")
    assert said[:3] == [
        "received 1 of 3",
        "waiting for client 0 (gone for 54 s)",
        "left out of contribute: client 2: never joined",
    ]
    assert "process 7 is gone" in said[3]
    assert "--resume" in said[3]
    assert lines(after(START, JOINED[0], START), 12.0)[0] == "waiting for clients for 9 s: 0 of 3 are there"
    many = after(("run_started", -1, {"expected": list(range(20))}))
    assert lines(many, 3.0)[1].endswith("client 7 (expected for 2 s) and 12 more")
    failed = lines(after(*WORKING, ("run_failed", -1, {"reason": "no memory"})), 20.0)
    assert failed[0] == "failed 11 s ago in stage contribute: no memory"
    assert "--resume" in failed[-1]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with Watch(tmp_path / "net", stream=None) as watch:
        for kind, client, facts in [START, *WORKING[1:], received(1, 1_234_567), left_out(2, "late [bold]")]:
            watch.tell(kind, client, **{k: v for k, v in facts.items() if k not in ("pid", "host")})
        yield watch


def test_the_command_on_a_run_that_is_at_work(watch: Watch, tmp_path: Path) -> None:
    said = mosaic("status", "net", cwd=tmp_path).splitlines()
    assert said[1] == "received 1 of 3"
    assert said[2].startswith("waiting for client 0 (working for ")
    assert said[3] == "left out of contribute: client 2: late [bold]"
    assert said[4].split() == ["client", "state", "for", "model", "samples", "received", "node", "note"]
    assert [line.split()[:2] for line in said[5:]] == [["0", "working"], ["1", "received"], ["2", "left"]]
    assert "1.2 MB" in said[6]
    told = json.loads(mosaic("status", "net", "--json", cwd=tmp_path))
    assert (told["received"], told["waiting_for"], told["alive"], told["pid"]) == ([1], [0], True, os.getpid())
    (tmp_path / "net" / "status.json").unlink()
    assert mosaic("status", "net", cwd=tmp_path).splitlines()[1] == "received 1 of 3"


def test_follow_goes_on_until_the_run_ends(watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = iter([lambda: None, lambda: watch.tell("received", 0), lambda: watch.tell("run_finished")])
    monkeypatch.setattr("mosaic_fl.cli.status.time.sleep", lambda seconds: next(script)())
    told = [json.loads(line) for line in mosaic("status", "net", "--json", "--follow", cwd=tmp_path).splitlines()]
    assert [(one["state"], len(one["received"])) for one in told] == [("running", 1), ("running", 2), ("finished", 0)]
    assert mosaic("status", "net", "--follow", cwd=tmp_path).startswith("finished ")


def test_a_terminal_gets_a_table(watch: Watch, tmp_path: Path) -> None:
    from rich.console import Console

    from mosaic_fl.report.status_lines import picture

    console = Console(record=True, width=120, file=io.StringIO())
    console.print(picture(watch.status, watch.clock(), alive=True))
    text = console.export_text()
    assert "late [bold]" in text
    assert "waiting for client 0" in text


def test_a_killed_run_says_the_way_out(tmp_path: Path) -> None:
    process = start("--help", cwd=tmp_path)
    finish(process)  # its number is free now
    with Watch(tmp_path / "net", stream=None) as watch:
        watch.tell("run_started", pid=process.pid, expected=[0])
        said = mosaic("status", "net", "--follow", cwd=tmp_path)
        assert f"its process {process.pid} is gone" in said
        assert "--resume" in said
        watch.tell("run_started", pid=process.pid, host="another machine")
    assert "is gone" not in mosaic("status", "net", cwd=tmp_path)


@pytest.mark.parametrize("case", ["absent", "empty", "file", "broken"])
def test_a_wrong_folder_is_one_line(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "status.json").write_text('{"state": ')
    with pytest.raises(SystemExit) as ended:
        main(["status", str(tmp_path / case)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mosaic: {tmp_path / case}")
    assert said.count("\n") == 1
