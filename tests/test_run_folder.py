"""Whose a folder is: nothing of anybody else's is deleted, and no other run's stages are taken up."""

from pathlib import Path
from typing import Any

import pytest

from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note
from mosaic_fl.runs.folder import MARKER, OURS, claim

CONFIG = Config()


def mine(folder: Path, *, inputs: str = "abc", command: str = "run", config: Config = CONFIG, **how: Any) -> None:
    claim(folder, command, inputs, config, **{"resume": False, "force": False, **how})


def test_a_new_folder_is_claimed_and_then_taken(tmp_path: Path) -> None:
    mine(tmp_path / "run")
    assert {p.name for p in (tmp_path / "run").iterdir()} == {"config.toml", MARKER}
    with pytest.raises(UsageError, match="add --resume to go on with it, --force to start over"):
        mine(tmp_path / "run")
    mine(tmp_path / "run", resume=True)
    with pytest.raises(UsageError, match="say one of them"):
        mine(tmp_path / "run", resume=True, force=True)


def test_force_deletes_what_is_ours_and_nothing_else(tmp_path: Path) -> None:
    mine(tmp_path)
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "meta.safetensors").write_text("old")
    (tmp_path / "result.json").write_text("old")
    (tmp_path / "thesis.tex").write_text("years of work")
    mine(tmp_path, force=True)
    assert {p.name for p in tmp_path.iterdir()} == {"config.toml", MARKER, "thesis.tex"}


@pytest.mark.parametrize("how", [{}, {"force": True}, {"resume": True}])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, how: dict[str, bool]) -> None:
    (tmp_path / "config.toml").write_text("title = 'a web site'")
    with pytest.raises(UsageError, match="not the folder of a run"):
        mine(tmp_path, **how)
    assert (tmp_path / "config.toml").read_text() == "title = 'a web site'"


def test_force_never_deletes_what_the_run_reads(tmp_path: Path) -> None:
    mine(tmp_path)
    (tmp_path / "contributions").mkdir()
    source = tmp_path / "contributions" / "a.contribution"
    source.write_text("precious")
    with pytest.raises(UsageError, match="which this run reads"):
        claim(tmp_path, "distill", "x", CONFIG, [source], resume=False, force=True)
    assert source.exists()


def test_only_the_same_run_is_resumed(tmp_path: Path) -> None:
    mine(tmp_path)
    with pytest.raises(UsageError, match="a run of other data"):
        mine(tmp_path, inputs="def", resume=True)
    with pytest.raises(UsageError, match=r"data.name = 'digits', not 'wine': resume it with the same settings"):
        mine(tmp_path, inputs="def", config=Config().with_values({"data.name": "wine"}), resume=True)
    with pytest.raises(UsageError, match="a run of another command"):
        mine(tmp_path, command="distill", resume=True)
    with pytest.raises(UsageError, match="run.seed = 0, not 3"):
        mine(tmp_path, config=Config().with_values({"run.seed": 3}), resume=True)
    mine(tmp_path, config=Config().with_values({"run.workers": 7}), resume=True)  # changes no result


def test_a_run_goes_on_with_other_words_on_whom_to_believe(tmp_path: Path) -> None:
    mine(tmp_path)
    for name in ("contributions/0", "stages/trust.safetensors", "stages/seconds.json", "quarantine/client-003.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    kept = Config().with_values({"trust.keep": (3,)})
    mine(tmp_path, config=kept, resume=True, dry_run=True)
    assert (tmp_path / "stages" / "trust.safetensors").exists()
    with pytest.warns(Note, match="1 stages are made again, no contribution is"):
        mine(tmp_path, config=kept, resume=True)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {"contributions/0", "stages/seconds.json", "config.toml", MARKER}
    mine(tmp_path, config=kept, resume=True)  # the settings are now these
    with pytest.raises(UsageError, match="run.seed = 0, not 3"):
        mine(tmp_path, config=Config().with_values({"run.seed": 3}), resume=True)
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UsageError, match="trust.keep = "):
        mine(tmp_path, resume=True)


def test_a_method_that_asks_nobody_whom_to_believe_keeps_its_settings(tmp_path: Path) -> None:
    rounds = {"run.method": "fedavg"}
    mine(tmp_path, config=Config().with_values(rounds))
    with pytest.raises(UsageError, match="trust.strict = False, not True"):
        mine(tmp_path, config=Config().with_values(rounds | {"trust.strict": True}), resume=True)


def test_an_option_that_is_left_out_is_another_run(tmp_path: Path) -> None:
    own = {"set dense:synthesis.epochs": "3"}  # of one method: no setting of the configuration tells of it
    mine(tmp_path, options=own)
    with pytest.raises(UsageError, match="with --set dense:synthesis.epochs 3, not without"):
        mine(tmp_path, options={}, resume=True)
    mine(tmp_path, options=own, resume=True)
    mine(tmp_path / "other", options={})
    with pytest.raises(UsageError, match="without --set dense:synthesis.epochs, not with"):
        mine(tmp_path / "other", options=own, resume=True)


@pytest.mark.parametrize("content", ["", '{"mosaic_fl": ', "[]", "{}"])
@pytest.mark.parametrize("how", [{}, {"force": True}, {"resume": True}])
def test_a_damaged_marker_is_named_and_nothing_is_deleted(tmp_path: Path, content: str, how: dict[str, bool]) -> None:
    mine(tmp_path)
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(UsageError, match="inputs.json is damaged or no run's.*another --out, or delete the folder"):
        mine(tmp_path, **how)
    assert (tmp_path / "config.toml").exists()


@pytest.mark.parametrize("content", ["[run\n", "run = 3", "[run]\nsed = 3"])
def test_damaged_settings_are_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    mine(tmp_path)
    (tmp_path / "config.toml").write_text(content)
    with pytest.raises(UsageError, match="config.toml.*put it back as it was, .*start over with --force"):
        mine(tmp_path, resume=True)
    mine(tmp_path, force=True)
    mine(tmp_path, resume=True)


def test_killed_while_it_was_claimed(tmp_path: Path) -> None:
    (tmp_path / f".{MARKER}.x.partial").write_text("half")
    mine(tmp_path, resume=True)
    (tmp_path / "config.toml").unlink()
    mine(tmp_path, resume=True)
    assert {p.name for p in tmp_path.iterdir()} == {"config.toml", MARKER}


def test_settings_that_are_gone_are_named_with_the_way_out(tmp_path: Path) -> None:
    """Else what was done with other settings would be gone on with."""
    mine(tmp_path)
    (tmp_path / "cells").mkdir()
    (tmp_path / "config.toml").unlink()
    with pytest.raises(UsageError, match="config.toml is missing; .*put it back as it was, .*start over with --force"):
        mine(tmp_path, resume=True)
    mine(tmp_path, force=True)


def test_a_source_that_is_a_name_and_no_file_lies_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine(Path())
    claim(Path(), "run", "x", CONFIG, [Path("digits")], resume=False, force=True)


def test_the_marker_goes_last() -> None:
    assert OURS[-1] == MARKER
