"""`mosaic audit-log`: a site's log in words, whether it is whole, and what all that left has cost."""

import json
from pathlib import Path

import pytest

from command import fails, mosaic
from mosaic_fl.storage.chain import append, read_chain

LINES = (
    {"event": "read", "data": "d" * 64, "place": "/data/ward", "samples": 60},
    {"event": "greeting", "to": "server:1", "samples": 0},
    {"event": "refused", "to": "server:1", "task": "fit", "run": "r", "reason": "limits.rounds = 0"},
    {
        "event": "sent", "kind": "contribution", "to": "a.contribution", "content": "c" * 64, "bytes": 9, "draw": "x",
        "data": "d" * 64, "place": "/data/ward", "model": "ridge", "epsilon": 1.5, "delta": 1e-5, "fields": ["expert"],
    },
    {"event": "later", "what": 1},
)  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "site-log.jsonl"
    for line in LINES:
        append(path, lambda _, line=line: line)
    return path


def test_verify_prints_the_last_hash_and_says_what_the_file_alone_cannot_show(log: Path, tmp_path: Path) -> None:
    printed = mosaic("audit-log", "verify", log, cwd=tmp_path)
    assert "5 lines, each follows from the one before" in printed
    assert f"Last hash: {read_chain(log).last}" in printed
    assert "cut off at the end cannot be seen from the file" in printed


def test_a_hash_noted_elsewhere_shows_a_cut_tail(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = read_chain(log).last
    assert "nothing up to there" in mosaic("audit-log", "verify", log, "--last", last.upper(), cwd=tmp_path)
    append(log, lambda _: {"event": "read"})
    assert "nothing up to there" in mosaic("audit-log", "verify", log, "--last", last, cwd=tmp_path)
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:4]))
    assert "4 lines" in mosaic("audit-log", "verify", log, cwd=tmp_path)
    assert "lines were cut off, or it is another log" in fails(capsys, "audit-log", "verify", log, "--last", last)


def test_a_changed_line_is_told_by_its_number(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_bytes(log.read_bytes().replace(b'"epsilon":1.5', b'"epsilon":0.5'))
    for command in ("verify", "show"):
        assert "line 4: it was altered" in fails(capsys, "audit-log", command, log)


def test_an_unfinished_line_is_no_fault(log: Path, tmp_path: Path) -> None:
    with log.open("ab") as file:
        file.write(b'{"event":"se')
    assert "a line without an end" in mosaic("audit-log", "verify", log, cwd=tmp_path)


def test_show_tells_each_line_in_words_and_the_sum(log: Path, tmp_path: Path) -> None:
    lines = mosaic("audit-log", "show", log, cwd=tmp_path).splitlines()
    assert "read 60 samples of /data/ward" in lines[0]
    assert "told server:1" in lines[1]
    assert "refused server:1: limits.rounds = 0" in lines[2]
    assert "sent a contribution (expert) to a.contribution: 9 bytes, ε = 1.5, δ = 1e-05" in lines[3]
    assert '"later"' in lines[4]
    assert lines[5].endswith("Of /data/ward in all: ε = 1.5, δ = 1e-05 in 1 release")
    parsed = [json.loads(line) for line in mosaic("audit-log", "show", log, "--json", cwd=tmp_path).splitlines()]
    assert [line["event"] for line in parsed] == [line["event"] for line in LINES]


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("verify", "show"):
        assert "nothing.jsonl" in fails(capsys, "audit-log", command, tmp_path / "nothing.jsonl")
