"""The one result of a run: what its file says of each kind of run, and how it is read."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.runs.ending import conclude, earlier_result
from mosaic_fl.runs.result import FILE, Kind, Result, final_result, read_result
from mosaic_fl.storage.journal import Journal, Stage

SAID = {
    "simulation": "method title data clients split alpha seed models student models_served samples classes_held "
    "bytes_up bytes_down accuracy recall seconds",
    "files": "method clients contributors seed models student tested_on accuracy bytes_up bytes_down recall seconds",
    "deployment": "method title data clients seed models student models_served samples bytes_up bytes_down left_out "
    "accuracy recall seconds",
}


def a_result(kind: Kind, schema: Schema) -> Result:
    outcome = Outcome(GlobalModel("cnn:8", schema, {}), [3, 4], [5, 6])
    measured: dict[str, Any] = {"accuracy": 0.5, "recall": [1.0]}
    if kind == "files":
        measured |= {"teacher_accuracy": None, "holdout": None}
    return Result(kind, Config(), ["cnn:8", "mlp:32"], outcome, measured, {"total": 1.0})


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_keys_of_each_kind_of_run(kind: Kind, schema: Schema) -> None:
    content = a_result(kind, schema).to_json()
    assert [key for key in content if key not in ("teacher_accuracy", "holdout")] == SAID[kind].split()
    assert (content["clients"], content["student"], content["bytes_down"]) == (2, "cnn:8", [5, 6])


def test_who_has_a_result_has_no_stages_left(schema: Schema, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.keep("meta", Stage())
    content = conclude(a_result("simulation", schema), journal)
    assert json.loads((tmp_path / FILE).read_text()) == content == read_result(tmp_path)
    assert not (tmp_path / "stages").exists()
    assert earlier_result(tmp_path) is None  # what it made is not there
    (tmp_path / "global_model.safetensors").touch()
    journal.keep("meta", Stage())
    with pytest.warns(UserWarning, match="has its result already"):
        assert earlier_result(tmp_path, keep_stages=True, seed=0) == content
    assert (tmp_path / "stages").exists()
    assert earlier_result(tmp_path, seed=1) is None  # another run's
    with pytest.warns(UserWarning, match="has its result already"):
        assert earlier_result(tmp_path) == content
    assert not (tmp_path / "stages").exists()


@pytest.mark.parametrize("content", ["", "[1]", '{"accuracy": 0.5}'])
def test_a_result_that_is_none(content: str, tmp_path: Path) -> None:
    assert read_result(tmp_path) is None
    (tmp_path / FILE).write_text(content)
    assert final_result(tmp_path) is None
    if not content.startswith("{"):
        with pytest.raises(UsageError, match="is damaged: the same command with --resume"):
            read_result(tmp_path)
