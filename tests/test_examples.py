"""The examples and the tutorial do what they say. Commands run in this process, so that torch is imported once."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from documents import ROOT, mosaic_lines, name
from mosaic_fl.cli.main import main
from test_docs_commands import check

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_file())
SMALL = [
    "train.max_steps=30",
    "train.min_steps=10",
    "generator.steps=30",
    "meta.steps=20",
    "distill.steps=40",
    "distill.pool=500",
]
SMALL += ["distill.prior_pool=100", "distill.choose=false", "distill.terms=1", "audit.seconds=1"]
"""Settings with which the tutorial's commands take seconds."""


def commands(script: Path) -> list[list[str]]:
    text = re.sub(r"\\\n\s*", "", script.read_text())
    return [shlex.split(line, comments=True)[1:] for line in text.splitlines() if line.lstrip().startswith("mosaic ")]


def run(words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0, words


def test_each_how_to_that_an_example_names_is_there() -> None:
    assert len(EXAMPLES) >= 10
    for script in EXAMPLES:
        how_to = re.search(r"How-to: \[?(docs/[\w-]+\.md)", script.read_text())
        assert how_to is not None, name(script)
        assert (ROOT / how_to[1]).exists(), name(script)


@pytest.mark.parametrize("script", [path for path in EXAMPLES if path.suffix == ".sh"], ids=name)
def test_the_commands_of_scripts_are_understood(script: Path) -> None:
    lines = commands(script)
    assert lines
    for words in lines:
        check([word.replace("$site", "0") for word in words])


def test_a_script_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for words in commands(ROOT / "examples" / "privacy.sh"):
        run(words)
    accuracy = re.search(r"accuracy on sites/test.parquet: ([\d.]+) %", "".join(capfd.readouterr()))
    assert accuracy is not None
    assert float(accuracy[1]) > 90


def test_the_tutorial_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words in mosaic_lines((ROOT / "docs" / "tutorial.md").read_text()):
        small = [word for setting in SMALL for word in ("--set", setting)]
        alone = ["--workers", "1"] if words[0] == "run" else []
        run([*words, *alone, *(small if words[0] in ("run", "contribute", "distill") else [])])
    assert (tmp_path / "runs" / "first" / "report.html").exists()
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) > 300


def test_two_tables_become_one_model(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "table.py"))
    right = re.search(r"right on ([\d.]+)%", capsys.readouterr().out)
    assert right is not None
    assert float(right[1]) > 85
