"""`mosaic status` on the folder of a run or comparison on one machine: its files alone show the progress."""

import json
from pathlib import Path

import pytest

from command import fails, mosaic


def test_a_run_on_one_machine(tmp_path: Path) -> None:
    run = tmp_path / "local"
    for name in ("stages/client-000.safetensors", "stages/meta.safetensors", "contributions/client-000.contribution"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    (run / "inputs.json").write_text('{"mosaic_fl": "0.1.0", "command": "run"}')
    text = mosaic("status", run, cwd=tmp_path)
    assert "contributions: 1\nstages done: meta\nnot finished" in text
    (run / "result.json").write_text('{"accuracy": 0.978}')
    assert "finished: test accuracy 97.8 %" in mosaic("status", run, "--follow", cwd=tmp_path)
    content = json.loads(mosaic("status", run, "--json", cwd=tmp_path))
    assert (content["state"], content["finished"], content["contributions"]) == ("finished", ["client-000", "meta"], 1)


def comparison(folder: Path, *states: str) -> Path:
    """A comparison of mosaic (one cell) and fedavg (1 and 2 rounds) on 2 seeds: 6 cells, the first with `states`."""
    rows = [{"clients": 5, "alpha": 0.1, "architectures": "equal", "method": "fedavg", "rounds": r} for r in (1, 2)]
    rows += [rows[0] | {"method": "mosaic"}] * 2  # one-shot: it stands in the table of 1 and of 2 rounds
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    for number in range(states.count("done")):
        (folder / "cells" / f"{number}.json").touch()
    (folder / "table.json").write_text(json.dumps({"tables": rows, "cells": [{"status": state} for state in states]}))
    marker = {"mosaic_fl": "0.1.0", "command": "compare", "options": {"seeds": "0,1", "rounds": "1,2"}}
    (folder / "inputs.json").write_text(json.dumps(marker))
    return folder


def test_a_comparison_on_one_machine(tmp_path: Path) -> None:
    def lines(*states: str) -> list[str]:
        return mosaic("status", comparison(tmp_path / "grid", *states), cwd=tmp_path).splitlines()[1:]

    def numbers() -> tuple[str, int, int | None, int]:
        content = json.loads(mosaic("status", tmp_path / "grid", "--json", cwd=tmp_path))
        return content["state"], content["cells"], content["runnable"], content["failed"]

    advice = "not finished, and nobody works there: start it again with the same command and --resume"
    assert lines("done") == ["cells done: 1 of 6", advice]
    assert lines("cannot", "done", "failed") == ["cells done: 1 of 5, 1 failed", advice]
    assert numbers() == ("stopped", 1, 5, 1)
    assert lines(*["done"] * 4, "cannot", "cannot") == ["finished", "cells done: 4 of 4"]
    assert numbers() == ("finished", 4, 4, 0)
    (tmp_path / "grid" / "inputs.json").write_text('{"mosaic_fl": "0.0.1", "command": "compare"}')
    assert numbers() == ("stopped", 4, None, 0)
    lines()
    (tmp_path / "grid" / "table.json").unlink()
    assert mosaic("status", "grid", cwd=tmp_path).splitlines()[1:] == ["cells done: 4", advice]


@pytest.mark.parametrize("content", ["", "garbage", "[1]"])
@pytest.mark.parametrize("name", ["result.json", "table.json", "inputs.json"])
def test_a_damaged_file_is_named(name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = comparison(tmp_path / "grid", "done")
    (folder / name).write_text(content)
    line = fails(capsys, "status", folder)
    assert line.startswith(f"{folder / name} is damaged")
    assert "--resume writes it again" in line or name == "inputs.json"


@pytest.mark.parametrize("case", ["absent", "file"])
def test_what_is_no_folder(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert fails(capsys, "status", tmp_path / case) == f"{tmp_path / case} is no folder: name what --out was"
