"""What readers say of inputs that are hostile, broken, or no files at all: a table of the input and the line."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from command import fails
from mosaic_fl.config.toml import read_toml
from mosaic_fl.data.inputs import read_inputs
from mosaic_fl.data.reading import read_parquet
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.report.summary import read_summary
from mosaic_fl.runs.folder import MARKER
from mosaic_fl.storage import container
from mosaic_fl.storage.files import read_bytes, read_if_there, read_text, require_path
from mosaic_fl.storage.journal import Journal
from mosaic_fl.watch.reading import read_status

# --- what is no file -------------------------------------------------------------------------------------------------


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _loop(path: Path) -> None:
    path.symlink_to(path)


NO_FILES: list[tuple[str, Callable[[Path], object], str]] = [
    ("a pipe", _pipe, "it is a pipe, not a file"),
    ("a socket", _socket, "it is a socket, not a file"),
    ("a folder", Path.mkdir, "(cannot read x: it|x) is a folder"),
    ("a device without an end", lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
    ("a link to nothing", lambda path: path.symlink_to("nothing"), "it is a link to what does not exist"),
    ("links in a circle", _loop, "Too many levels of symbolic links"),
    ("nothing", lambda path: None, "No such file or directory"),
]
READERS: dict[str, Callable[[Path], object]] = {
    "contribution": Contribution.load,
    "global model": GlobalModel.load,
    "toml": read_toml,
    "parquet": read_parquet,
    "text": read_text,
}


@pytest.mark.parametrize(("make", "words"), [row[1:] for row in NO_FILES], ids=[row[0] for row in NO_FILES])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, make: Callable[[Path], object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    make(Path("x"))
    with pytest.raises(UsageError, match=words):
        READERS[reader](Path("x"))


@pytest.mark.parametrize("words", ["distill x", "predict x --data x", "run x", "run --data x"])
def test_the_commands_do_not_wait_for_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("x")
    assert "x" in fails(capsys, *words.split())


def test_a_picture_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(UsageError, match="is neither a file nor a folder"):
        read_inputs(tmp_path / "x.png")


@pytest.mark.parametrize(
    ("path", "words"),
    [("x" * 5000, "File name too long"), ("a/" * 3000, "File name too long"), ("a\0b", "no file can have that name")],
)
def test_a_path_that_none_can_be(capsys: pytest.CaptureFixture[str], path: str, words: str) -> None:
    for read in (require_path, read_bytes, read_if_there, Contribution.load, read_toml, read_status):
        with pytest.raises(UsageError, match=words) as error:
            read(Path(path))
        assert len(str(error.value)) < 300  # its middle is left out
    for command in (["run", path], ["distill", path], ["status", path], ["run", "--data", path]):
        assert words in fails(capsys, *command)


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bytes(tmp_path / "x", 5) == b"12345"
    with pytest.raises(UsageError, match="x: 5 bytes; at most 4 are read"):
        read_bytes(tmp_path / "x", 4)
    assert read_if_there(tmp_path / "none") is None


@pytest.mark.skipif(not Path("/proc/kallsyms").exists(), reason="needs a file that says it is empty")
def test_a_file_that_is_longer_than_it_says_is_read_to_the_limit() -> None:
    assert Path("/proc/self/status").stat().st_size == 0
    assert b"Pid" in read_bytes(Path("/proc/self/status"))
    with pytest.raises(UsageError, match="has no end: at most 10 bytes are read"):
        read_bytes(Path("/proc/self/status"), 10)


# --- TOML ------------------------------------------------------------------------------------------------------------

TEXT = "[run]\nseed = 3 # é\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_toml_is_read_by_its_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.toml").write_bytes(TEXT.encode(encoding))
    assert read_toml(tmp_path / "a.toml") == {"run": {"seed": 3}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TEXT.encode("utf-16-le"), "not text in UTF-8, but perhaps in UTF-16: save it as UTF-8"),
        (TEXT.encode("latin-1"), "byte 17 is not UTF-8: save it as UTF-8"),
        (b"\xff\xfea", "byte 2 is not UTF-16"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"{a=" * 100_000, "nested too deeply"),
        (b"a." * 500_000 + b"a = 1", "a key has more than 32 parts"),
        (b"[" + b"a . " * 500_000 + b"a]", "a key has more than 32 parts"),
        (b"a = " + b"9" * 5000, "Exceeds the limit"),
        (b'a = "\0"', "is not TOML"),
        (b"x" * (2**22 + 1), "at most 4,194,304 are read"),
    ],
)
def test_toml_that_is_none(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_toml(tmp_path / "a.toml")


def test_dots_within_a_text_are_no_parts_of_a_key(tmp_path: Path) -> None:
    for text in (f'a = "{"x." * 300}"', f"a = '{'x.' * 300}'", f"a = 1 # {'x.' * 300}"):
        (tmp_path / "a.toml").write_text(text)
        assert "a" in read_toml(tmp_path / "a.toml")


def test_a_value_of_any_size_is_shown_in_one_short_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = "{a=" * 200 + "1" + "}" * 200
    for value in ('"' + "x" * 100_000 + '"', deep, "[" + "1," * 10_000 + "]"):
        (tmp_path / "a.toml").write_text(f"[train]\nlr = {value}\n")
        assert len(fails(capsys, "run", tmp_path / "a.toml")) < 800


# --- a run's folder --------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / MARKER).write_text('{"mosaic_fl": "0", "command": "run"}')
    return tmp_path


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (MARKER, DEEP, "is damaged or no run's"),
        (MARKER, '{"mosaic_fl": 1, "options": 3}', "is damaged or no run's"),
        (MARKER, "3", "is damaged or no run's"),
        ("result.json", DEEP, "is damaged"),
        ("result.json", "\xff", "is damaged"),
    ],
)
def test_a_damaged_file_of_a_run(run: Path, name: str, content: str, words: str) -> None:
    (run / name).write_text(content, "latin-1")
    with pytest.raises(UsageError, match=words):
        read_summary(run)


@pytest.mark.parametrize(
    "content",
    [DEEP, "3", '{"since": "x", "clients": [], "expected": [], "left_out": [], "finished": []}', '{"since": 1e300}'],
)
def test_a_damaged_status(run: Path, content: str) -> None:
    (run / "status.json").write_text(content)
    with pytest.raises(UsageError, match="cannot be read"):
        read_status(run)


@pytest.mark.parametrize("time", ["1e400", "9" * 400, "-1e300", "NaN"])
def test_an_event_at_no_time_is_passed_over(run: Path, time: str) -> None:
    good = '{"time": 5, "kind": "run_started", "client": -1, "facts": {"expected": [0]}}'
    (run / "events.jsonl").write_text(f"{good}\n{good.replace('5', time, 1)}\n{DEEP}\n")
    status = read_status(run)
    assert status is not None
    assert status.starts == 1


def test_a_stage_of_other_content_is_refused(tmp_path: Path) -> None:
    for manifest in ({}, {"info": 3, "seconds": 1.0, "metrics": []}, {"info": {}, "seconds": 1.0, "metrics": [3]}):
        container.write(tmp_path / "stages" / "a.safetensors", "stage", manifest, {})
        with pytest.raises(UsageError, match="is no stage of a run: delete it"):
            Journal(tmp_path).recall("a")
