"""Every command line in the documents is understood by the real one: its options, their values, its settings."""

import re
from pathlib import Path

import click
import pytest
from typer.main import get_command

from documents import NOTES, PAGES, RESULTS, ROOT, inline_commands, mosaic_lines, name, shell_lines
from mosaic_fl.cli.main import app
from mosaic_fl.cli.options import configure

MOSAIC = get_command(app)
SETTINGS = {
    "method": "run.method",
    "clients": "partition.clients",
    "alpha": "partition.alpha",
    "split": "partition.split",
    "student": "models.student",
    "generator": "generator.family",
    "moments": "moments.encoder",
    "prior": "distill.prior",
    "rounds": "rounds.warm_up",
    "aggregate": "rounds.aggregate",
    "epsilon": "privacy.epsilon",
    "delta": "privacy.delta",
    "attack": "run.attack",
    "seed": "run.seed",
    "engine": "run.engine",
    "encoder": "data.encoder",
    "channels": "data.channels",
    "fit": "data.fit",
    "image_size": "data.image_size",
}
"""The setting behind an option: the command checks it when it runs, so the tests check it here."""
LISTS = {"clients", "alpha", "rounds"}
"""Options with several values in a comparison."""


def parse(words: list[str]) -> tuple[list[str], dict[str, object]]:
    """The path of the command and its parameters, as click and typer read `words`; nothing runs."""
    context = MOSAIC.make_context("mosaic", list(words))
    command: click.Command = MOSAIC
    path = []
    while isinstance(command, click.Group):
        label, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        command = inner
        path.append(label or "")
        context = command.make_context(label, rest, parent=context)
    return path, context.params


def check(words: list[str]) -> None:
    """Raise where the command line is wrong: click's error, or UsageError for a setting."""
    path, given = parse(words)
    if path[0] in ("deploy", "keys", "audit-log"):
        return
    values = {option: given.get(option) for option in SETTINGS if given.get(option) is not None}
    for option in LISTS & values.keys():
        values |= {option: str(values[option]).split(",")[0]}
    options = {SETTINGS[option]: value for option, value in values.items()}
    models = given.get("models") or (given.get("model") if path == ["contribute"] else None)
    if isinstance(models, str) and not re.search(r"\.onnx|NAME", models):
        options["models.clients"] = models.split(",")
    settings = [re.sub(r"^\w+:", "", text) for text in given.get("settings") or []]  # one method's own, in a comparison
    configure(None, options, settings, given.get("preset"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_command_line_is_understood(page: Path) -> None:
    for words in mosaic_lines(page.read_text()):
        if "…" in words:  # cut short: the next test sees its options
            continue
        try:
            check(words)
        except Exception as error:
            message = getattr(error, "message", "") or error
            pytest.fail(f"{name(page)}: mosaic {' '.join(words)}\n{type(error).__name__}: {message}")


@pytest.mark.parametrize("page", [*PAGES, *NOTES, RESULTS], ids=name)
def test_each_command_within_a_sentence_exists_with_its_options(page: Path) -> None:
    text = page.read_text()
    for words in inline_commands(text) + mosaic_lines(text):
        command = MOSAIC
        for word in words:
            if word in getattr(command, "commands", {}):
                command = command.commands[word]
        assert command is not MOSAIC, f"{name(page)}: mosaic {' '.join(words)}"
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word.split("=")[0] for word in words if word.startswith("--")} - known - {"--help", "--debug"}
        assert not unknown, f"{name(page)}: mosaic {' '.join(words)}"


def test_wrong_lines_are_seen() -> None:
    """The check itself: a wrong command, option, name, number and setting each fail."""
    check(["run", "--data", "digits", "--alpha", "0.1", "--set", "distill.steps=5"])
    for wrong in (
        ["fly"],
        ["run", "--wings", "2"],
        ["run", "--method", "nosuch"],
        ["run", "--alpha", "small"],
        ["run", "--models", "cnm:16"],
        ["run", "--set", "distill.step=5"],
        ["contribute", "--data", "a.csv", "--model", "mlp:64", "--out", "a"],  # --client is missing
    ):
        with pytest.raises(Exception, match="."):
            check(wrong)


@pytest.mark.parametrize("page", [*PAGES, RESULTS], ids=name)
def test_what_it_makes_or_runs_by_python_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in shell_lines(page.read_text()):
        if made := re.match(r"make ([a-z-]+)", line):
            assert made[1] in targets, line
        if script := re.search(r"python (\S+\.py)", line):
            assert (ROOT / script[1]).exists(), line
