"""The file exchange at the server: what is done again in a folder that has its result, and what is told of it."""

import io
import json
from pathlib import Path

import pytest

import mosaic_fl
from command import QUICK, mosaic
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset

FEW = {"train.max_steps": 5, "train.min_steps": 5, "generator.steps": 5, "generator.width": 4}


@pytest.fixture
def place(digits: Dataset, tmp_path: Path) -> Path:
    """A folder with the contributions of two sites and two files to test on."""
    for k in range(2):
        made = mosaic_fl.contribute(digits.subset(range(k, 200, 2)), model="mlp:4", client=k, settings=FEW)
        (tmp_path / f"{k}.contribution").write_bytes(made.to_bytes())
        save_parquet(digits.subset(range(200 + 20 * k, 220 + 20 * k)), tmp_path / f"test-{k}.parquet")
    return tmp_path


def distil(place: Path, *words: str) -> str:
    """Distil into `place`/global; what was noted."""
    err = io.StringIO()
    files = ["0.contribution", "1.contribution", "--student", "mlp:4", *QUICK, "--out", "global"]
    mosaic("distill", *files, *words, cwd=place, err=err)
    return "".join(line for line in err.getvalue().splitlines(keepends=True) if line.startswith("mosaic: note: "))


AGAIN = "is distilled again; --keep-stages leaves them for another --test"


def test_another_test_set_without_stages_is_told(place: Path) -> None:
    distil(place, "--test", "test-0.parquet")
    model = (place / "global" / "global_model.safetensors").read_bytes()
    assert "nothing is done again" in distil(place, "--test", "test-0.parquet", "--resume")
    assert AGAIN in distil(place, "--test", "test-1.parquet", "--resume")
    assert (place / "global" / "global_model.safetensors").read_bytes() == model
    assert "but with test data, and its stages" in distil(place, "--resume")
    result = json.loads((place / "global" / "result.json").read_text())
    assert result["accuracy"] is None
    assert result["choice"].keys() >= {"teacher", "label", "teachers_on_samples", "student_on_samples"}


def test_with_its_stages_another_test_set_is_measured_alone(place: Path) -> None:
    distil(place, "--keep-stages")
    told = distil(place, "--test", "test-1.parquet", "--resume", "--keep-stages")
    assert not [line for line in told.splitlines() if "the global model is" not in line]
    assert json.loads((place / "global" / "result.json").read_text())["accuracy"] is not None
