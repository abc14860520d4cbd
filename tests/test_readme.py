"""The README's Python example does what it says, as it stands there; the commands it names exist."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(code[1], "README.md", "exec"), names)  # noqa: S102
    images, labels, model = names["images"], names["labels"], names["model"]
    predicted = model.predict(names["mosaic"].from_arrays(images, labels).images).numpy()  # type: ignore[attr-defined]
    # No site has seen another one's classes; the one model knows them all.
    assert (predicted == labels).mean() > 0.9
    assert set(predicted) == set(range(10))
    assert capsys.readouterr().out.startswith("tensor(")


def test_every_option_that_it_names_exists() -> None:
    from typer.main import get_command

    from mosaic_fl.cli.main import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    lines = [line for line in README.splitlines() if re.match(r"    mosaic ", line)]
    assert len(lines) >= 8
    for part in (part for line in lines for part in line.split("#")[0].split("&&")):
        words = part.split()
        command = commands[words[1]]
        for word in words[2:]:
            if word not in getattr(command, "commands", ()):
                break
            command = command.commands[word]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, part


def test_no_two_runs_that_it_names_share_a_folder() -> None:
    parts = [part for line in README.splitlines() for part in line.split("#")[0].split("&&")]
    runs = [part.split() for part in parts if re.match(r"\s*mosaic run ", part)]
    assert len(runs) >= 5
    assert all("--out" in words for words in runs), "without --out all share runs/latest"
    folders = [words[words.index("--out") + 1] for words in runs]
    assert len(set(folders)) == len(folders)
