"""What holds for every command: help that can be read, no empty path taken for the current folder, nobody reading."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from typer.main import get_command

from command import fails
from mosaic_fl.cli.main import app, main


def commands(group: click.Command, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """All commands below `group` by their words."""
    found = {words: group}
    for name, command in getattr(group, "commands", {}).items():
        found |= commands(command, (*words, name))
    return found


ALL = commands(get_command(app))


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_has_no_stray_backslash(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for flag in ("--help", "-h"):
        with pytest.raises(SystemExit) as ended:
            main([*words, flag])
        said = capsys.readouterr().out
        assert ended.value.code == 0
        assert "\\" not in said
    if words == ("status",):
        assert "[required]" in said


def test_there_are_all_commands() -> None:
    assert {("run",), ("compare",), ("deploy", "keys", "server")} <= ALL.keys()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("run --data=", "--data"),
        ("run --data ''", "--data"),
        ("run --out ''", "--out"),
        ("compare --out ''", "--out"),
        ("data --export ''", "--export"),
        ("data --data ''", "--data"),
        ("contribute --data '' --model mlp --out x --client 0", "--data"),
        ("distill a '' b", "FILE..."),
        ("predict '' --data x", "MODEL"),
        ("status ''", "RUN"),
        ("deploy keys client --out ''", "--out"),
        ("deploy server --clients 2 --keys ''", "--keys"),
    ],
)
def test_an_empty_path_is_refused_by_name(
    words: str, name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = [word.replace("''", "") for word in words.split()]
    assert fails(capsys, *said) == f"{name} '': write a path; the current folder is ."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", ["methods", "data --data digits --clients 2"])
@pytest.mark.parametrize("closed", [False, True], ids=["cut off", "closed"])
def test_a_standard_output_that_is_gone_is_no_error(words: str, closed: bool, tmp_path: Path) -> None:
    """Of `mosaic … | true`, and of a service manager that gives its programs none."""
    command = [sys.executable, "-m", "mosaic_fl.cli.main", *words.split()]
    if closed:
        command = ["sh", "-c", '"$@" >&-', "sh", *command]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    else:
        reading, writing = os.pipe()
        os.close(reading)
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, "")
