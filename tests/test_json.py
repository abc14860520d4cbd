"""`--json`: every command has it, its standard output is JSON alone, and its keys are those of docs/json.md."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from typer.main import get_command

from mosaic_fl.cli.main import app, main
from mosaic_fl.storage.folder_lock import vacate

DOCS = Path(__file__).parent.parent / "docs" / "json.md"
ROW = re.compile(r"^\| `mosaic ([^`]+)`([^|]*)\| (.+) \|$", re.MULTILINE)
FEW = ["--set", "train.max_steps=20", "--set", "train.min_steps=10", "--generator", "marginals"]
FEW += ["--set", "distill.steps=20", "--set", "distill.pool=200", "--set", "distill.choose=false"]
SOON = ["--set", "audit.seconds=1"]
TABLE = "--label-column target --clients 3 --alpha 10"
DEPLOYED = "status of a deployment"
UNTRIED = {"deploy server": "it needs sites; it ends as a run does", DEPLOYED: "tests/test_status.py has its keys"}
UNTRIED |= {"status --web": "it goes on until Ctrl-C; tests/test_status_page.py has its keys"}

# What is run, in this order in one folder, and the row of the docs that it shows.
WALK: list[tuple[str, str]] = [
    ("schema", "a.csv --label-column target"),
    ("schema", "a.csv --label-column target --out s.toml"),
    ("schema --check", "a.csv --check s.toml"),
    ("schema --statistics", "a.csv --statistics --label-column target --client 0 --out a.stat"),
    ("schema --merge", "a.stat --merge"),
    ("contribute --dry-run", "--data a.csv --schema s.toml --model mlp:4 --client 0 --out a.contribution --dry-run"),
    ("contribute", "--data a.csv --schema s.toml --model mlp:4 --client 0 --out a.contribution QUICK"),
    ("contribute", "--data b.csv --schema s.toml --model mlp:4 --client 1 --out b.contribution QUICK"),
    ("audit", "a.contribution --data a.csv --holdout b.csv QUICK"),
    ("check", "a.contribution b.contribution"),
    ("inspect of a contribution", "a.contribution"),
    ("distill", "a.contribution b.contribution --out g DISTILL"),
    ("inspect of a global model", "g"),
    ("export", "g --to torchscript --out there"),
    ("evaluate", "g a.contribution --data a.csv --held-back --out a.scores --log site.jsonl"),
    ("collect", "a.scores --run g"),
    ("audit-log verify", "site.jsonl"),
    ("report", "g --out page.html"),
    ("run", f"--data a.csv {TABLE} --models mlp:4 --student mlp:4 FEW --out r"),
    ("status", "r"),
    ("withdraw --dry-run", "r 0 --dry-run"),
    ("withdraw", "r 0 --force"),
    (
        "contribute",
        "--data a.csv --schema s.toml --model answers --generator marginals --client 0 --out x.contribution",
    ),
    ("distill waits", "x.contribution b.contribution --out q DISTILL"),
    ("query", "q"),
    ("answer", "QUERY --model a.contribution --out x.answer"),
    ("compare --list", f"--data a.csv {TABLE.replace(' 3', ' 2')} COMPARE --list"),
    ("compare", f"--data a.csv {TABLE.replace(' 3', ' 2')} COMPARE QUICK"),
    ("summary", "c"),
    ("data", "--data digits --clients 2 --out split.png"),
    ("data --describe", "--data digits --describe"),
    ("methods", ""),
    ("config", ""),
    ("keys new", "own.key"),
    ("keys public", "own.key"),
    ("deploy keys server", "--host localhost --out server-keys"),
    ("deploy keys client", "--out client-keys"),
    ("deploy server --show", "--clients 2 --insecure --host 127.0.0.1 --show"),
]
MACROS = {
    "QUICK": ["--set", "train.max_steps=20", "--set", "train.min_steps=10", "--set", "generator.steps=20", *SOON],
    "DISTILL": ["--set", "distill.steps=20", "--set", "distill.pool=200"],
    "FEW": FEW,
    "COMPARE": ["--methods", "fedavg", "--seeds", "0", "--architectures", "equal", "--student", "mlp:4", "--out", "c"],
}


def documented() -> dict[str, set[str]]:
    """The keys of each command, as "run --dry-run" or "inspect of a contribution"."""
    rows = {}
    for words, more, keys in ROW.findall(DOCS.read_text("utf-8").split("Two commands")[0]):
        note = more.strip().split(",")[0]
        rows[f"{words} {note}".strip()] = set(re.findall(r"`(\w+)`", keys))
    return rows


def answer(words: list[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of `mosaic WORDS`."""
    out = io.StringIO()
    err = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(words)
    vacate()
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue(), err.getvalue()


def commands(group: click.Command, words: str = "") -> dict[str, click.Command]:
    """All commands by their words, without the groups."""
    found: dict[str, click.Command] = {}
    for name, command in getattr(group, "commands", {}).items():
        path = f"{words} {name}".strip()
        found |= commands(command, path) or {path: command}
    return found


def test_every_command_has_it_or_stands_in_the_docs_with_a_reason() -> None:
    lack = {
        name
        for name, command in commands(get_command(app)).items()
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    reasons = DOCS.read_text("utf-8").split("Two commands")[1].split("##")[0]
    assert lack == set(re.findall(r"^\| `mosaic ([^`]+)` \|", reasons, re.MULTILINE))
    plain = {name.split(" --")[0].split(" of ")[0] for name in documented()}
    assert plain | lack == set(commands(get_command(app)))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from sklearn.datasets import load_breast_cancer

    monkeypatch.chdir(tmp_path)
    frame = load_breast_cancer(as_frame=True).frame.iloc[:, [0, 1, 2, -1]].sample(frac=1, random_state=0)
    frame[:200].to_csv("a.csv", index=False)
    frame[200:400].to_csv("b.csv", index=False)
    return tmp_path


def test_keys_are_those_of_the_docs(place: Path) -> None:
    told = documented()
    found: dict[str, set[str]] = {}
    figures: set[str] = set()
    for row, line in WALK:
        more = [text for word in line.split() for text in MACROS.get(word, [word])]
        more = [str(next((place / "q" / "queries").iterdir())) if word == "QUERY" else word for word in more]
        name = row.split(" --")[0].split(" of ")[0].removesuffix(" waits")
        code, out, err = answer([*name.split(), *more, "--json"])
        if row == "distill waits":
            assert (code, out) == (3, "")
            continue
        assert code == 0, (row, err)
        value: Any = json.loads(out)
        found[row] = set(value[0] if isinstance(value, list) else value)
        figures |= set(value["result"]) if "result" in found[row] else set()
    code, out, _ = answer(["audit-log", "show", "site.jsonl", "--json"])
    lines = [set(json.loads(line)) for line in out.splitlines()]
    assert code == 0
    assert lines
    assert all(told["audit-log show"] <= line for line in lines)
    section = DOCS.read_text("utf-8").split("## `result`")[1].split("\n## ")[0]
    assert figures - set(re.findall(r"`(\w+)`", section)) == set()
    assert found == {row: keys for row, keys in told.items() if row not in UNTRIED and row != "audit-log show"}


def test_an_error_is_one_line_on_stderr_and_nothing_on_stdout(place: Path) -> None:
    for words, code in ((["status", "nowhere"], 2), (["inspect", "a.csv"], 2), (["run", "--clients", "0"], 2)):
        plain = answer(words)
        assert answer([*words, "--json"]) == plain
        assert (plain[0], plain[1], len(plain[2].splitlines())) == (code, "", 1)
