"""The hash chain of a site's log: what was changed is seen, and a crash in a line stops nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage.chain import FIRST, append, read_chain


def write(path: Path, count: int) -> None:
    for number in range(count):
        append(path, lambda before, number=number: {"event": f"step {number}", "earlier": len(before), "σ": 1e-05})


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_entries_come_back_in_order_with_their_hashes(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "log.jsonl"
    assert read_chain(path).entries == ()
    assert read_chain(path).last == FIRST
    write(path, 3)
    chain = read_chain(path)
    assert [entry.values for entry in chain.entries] == [
        {"event": f"step {number}", "earlier": number, "σ": 1e-05} for number in range(3)
    ]
    assert [entry.number for entry in chain.entries] == [1, 2, 3]
    assert chain.last == json.loads(lines_of(path)[2])["hash"]
    assert (path.stat().st_mode & 0o777) == 0o600


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"step 1", b"step 9"), *lines[2:]], 2, "it was altered"),
        (lambda lines: [lines[0], lines[1].replace(b",", b", ", 1), *lines[2:]], 2, "it was altered"),
        (lambda lines: [lines[0], *lines[2:]], 2, "taken out or moved"),
        (lambda lines: lines[1:], 1, "taken out or moved"),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], 2, "taken out or moved"),
        (lambda lines: [lines[0], b"\n", *lines[1:]], 2, "it was altered"),
        (lambda lines: [lines[0], lines[1][:30], b"\n", *lines[2:]], 2, "it was altered"),
        (lambda lines: [*lines[:3], lines[3].replace(b"step 3", b"step 8")], 4, "it was altered"),
        (lambda lines: [*lines, b"[1]\n"], 5, "it was altered"),
        (lambda lines: [*lines, b"\xff\n"], 5, "it was altered"),
    ],
)
def test_what_was_altered_shortened_or_reordered_is_told_with_its_line(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], line: int, words: str
) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 4)
    path.write_bytes(b"".join(change(lines_of(path))))
    with pytest.raises(UsageError, match=f"line {line}: .*{words}"):
        read_chain(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"line {line}"):
        write(path, 1)
    assert path.read_bytes() == before


def test_a_line_of_another_log_with_the_right_number_does_not_follow(tmp_path: Path) -> None:
    for name in ("a", "b"):
        append(tmp_path / name, lambda _, name=name: {"event": name})
        write(tmp_path / name, 1)
    (tmp_path / "a").write_bytes(lines_of(tmp_path / "a")[0] + lines_of(tmp_path / "b")[1])
    with pytest.raises(UsageError, match="line 2: it does not follow from the line before it"):
        read_chain(tmp_path / "a")


def test_a_cut_tail_is_not_seen_and_the_last_hash_differs(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 3)
    whole = read_chain(path)
    path.write_bytes(b"".join(lines_of(path)[:2]))
    short = read_chain(path)
    assert len(short.entries) == 2
    assert short.last != whole.last


@pytest.mark.parametrize("left", [1, 40, -2])
def test_a_crash_in_a_line_does_not_break_the_next_one(tmp_path: Path, left: int) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 3)
    lines = lines_of(path)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:left])
    assert len(read_chain(path).entries) == 2
    write(path, 1)
    entries = read_chain(path).entries
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert json.loads(lines_of(path)[2])["torn"] == len(lines[2][:left])


def test_a_line_that_lacks_its_end_alone_counts(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 2)
    path.write_bytes(path.read_bytes()[:-1])
    write(path, 1)
    assert [entry.values["earlier"] for entry in read_chain(path).entries] == [0, 1, 2]


def test_nothing_is_written_where_the_entry_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 1)

    def refuse(_: object) -> dict[str, object]:
        raise UsageError("no")

    before = path.read_bytes()
    with pytest.raises(UsageError, match="no"):
        append(path, refuse)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(MosaicError, match="cannot write"):
        write(tmp_path, 1)


def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    code = "import sys\nfrom pathlib import Path\nfrom mosaic_fl.storage.chain import append\n"
    code += "for k in range(20): append(Path(sys.argv[1]), lambda _: {'event': k})"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(read_chain(path).entries) == 40


def test_a_number_that_is_too_large_is_an_alteration(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append(path, lambda _: {"bytes": 12})
    path.write_bytes(path.read_bytes().replace(b'"bytes":12', b'"bytes":1e999'))
    with pytest.raises(UsageError, match="line 1: it was altered"):
        read_chain(path)
