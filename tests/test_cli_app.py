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
from mosaic_fl.release import release


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


def test_help_says_what_arguments_are() -> None:
    for words, command in ALL.items():
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                assert getattr(parameter, "help", None), (words, parameter.name)


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
        ("summary a ''", "FOLDER..."),
        ("summary a --out ''", "--out"),
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


LISTS = {
    "run": {"models", "track", "ignore", "client_fields"},
    "schema": {"ignore", "missing"},
    "compare": {"track", "methods", "clients", "alpha", "architectures", "rounds", "seeds", "models"},
    "contribute": {"classes"},
    "data": {"classes", "ignore", "client_fields"},
    "deploy keys server": {"host"},
}


def test_the_options_that_take_lists_say_so() -> None:
    """By which they are told from those that take one value."""
    for words, names in LISTS.items():
        options = {option.name: option.metavar or "" for option in ALL[tuple(words.split())].params}
        assert {name for name, metavar in options.items() if metavar.endswith(",…")} == names


SITE = "contribute --data x --model mlp --out y --client 0"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run --seed 1 --seed 2", "--seed is given twice, as '1' and '2'"),
        ("run --seed 1 --seed 1", "--seed is given twice, as '1' and '1'"),
        ("run --out a --rounds 1 --out=b", "--out is given twice, as 'a' and 'b'"),
        ("run --alpha 1 --alpha 2 --alpha 3", "--alpha is given 3 times, as '1' and '2'"),
        ("run --clients 2 x.toml --clients 3", "--clients is given twice, as '2' and '3'"),
        ("compare --data digits --data b", "--data is given twice, as 'digits' and 'b'"),
        ("data --pixel-range 0,9 --pixel-range 0,8", "--pixel-range is given twice, as '0,9' and '0,8'"),
        (f"{SITE} --client 1", "--client is given twice, as '0' and '1'"),
        (f"{SITE} --classes 10 --classes 12", "--classes is given twice, as '10' and '12'"),
        (f"{SITE} --classes cat --classes 12", "--classes is given twice, as 'cat' and '12'"),
        ("deploy server --clients 2 --host a --host b", "--host is given twice, as 'a' and 'b'"),
        ("deploy server --clients 2 --limit fit=3 --limit fit=4", "--limit fit is given twice, as 3 and 4"),
    ],
)
def test_an_option_that_takes_one_value_is_given_once(
    words: str, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fails(capsys, *words.split()) == f"{said}: it takes one value"
    assert not list(tmp_path.iterdir())


def test_a_list_may_be_given_in_parts(capsys: pytest.CaptureFixture[str]) -> None:
    def listed(words: str) -> list[str]:
        with pytest.raises(SystemExit) as ended:
            main(["compare", "--list", *words.split()])
        assert ended.value.code == 0
        return capsys.readouterr().out.splitlines()

    whole = listed("--methods mosaic,fedavg,dense --clients 2,3 --alpha 0.1,1 --architectures equal --seeds 4,5,6")
    assert len(whole) == 3 * 2 * 2 * 3 + 1
    parts = (
        "--methods mosaic --methods fedavg,dense --clients 2 --clients=3 --alpha 0.1 --seeds 4,5 --alpha 1 --seeds 6"
    )
    assert listed(f"{parts} --architectures equal") == whole


def test_what_set_gives_twice_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    steps = ["--set", "distill.steps=9"]
    with pytest.raises(SystemExit):
        main(["config", "--set", "run.seed=3", *steps, "--set", "run.seed=4", *steps])
    out, err = capsys.readouterr()
    assert "seed = 4" in out
    assert err == "mosaic: note: --set run.seed is given twice: 4 is used, not 3\n"


def test_a_flag_may_be_given_twice(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--list", "--list", "--methods", "mosaic"])
    assert ended.value.code == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "closed", "unbuffered"),
    [
        *(("methods", closed, unbuffered) for closed in (False, True) for unbuffered in ("", "1")),
        *(("--help", closed, "1") for closed in (False, True)),
        ("data --data digits --clients 2", False, ""),  # it loads torch, which takes seconds
    ],
)
def test_a_standard_output_that_is_gone_is_no_error(
    words: str, closed: bool, unbuffered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `mosaic … | true`, and of a service manager that gives its programs none."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
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


def test_the_version_is_said_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"mosaic-fl {release()}\n"
