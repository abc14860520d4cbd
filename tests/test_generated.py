"""`pictures/generated.json`: samples of pictures and of rows, what has none and why, and no more than fits a page."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.report.page.reading import _generated
from mosaic_fl.runs import generated
from mosaic_fl.runs.generated import write_generated
from mosaic_fl.runs.result import GENERATED
from table_cases import patients

FEW = {"train.max_steps": 20, "train.min_steps": 10, "generator.steps": 20, "generator.width": 4}


def shown(contributions: list[Contribution], folder: Path) -> dict[str, object]:
    write_generated(contributions, folder, 0)
    told: dict[str, object] = json.loads((folder / GENERATED).read_text())
    assert told["more"] == len(contributions) - len(told["clients"])  # type: ignore[arg-type]
    write_generated(contributions, folder, 0)
    assert json.loads((folder / GENERATED).read_text()) == told  # the same each time
    return told


@pytest.fixture(scope="module")
def pictures(digits: Dataset) -> Contribution:
    """A client with sevens and ones."""
    part = digits.subset(((digits.labels == 1) | (digits.labels == 7)).nonzero().flatten()[:60])
    return mosaic_fl.contribute(part, model="mlp:8:1", client=0, settings={**FEW, "generator.family": "cvae"})


def test_pictures(pictures: Contribution, tmp_path: Path) -> None:
    """Two by two pictures of 8 pixels and a line between them for each class, and two lines between two classes."""
    without = replace(pictures, client=1, generator=None, generator_spec=None, generator_note="")
    told = shown([pictures, without], tmp_path)
    first, second = told["clients"]  # type: ignore[misc]
    assert first["classes"] == ["1", "7"]
    content = np.asarray(Image.open(io.BytesIO(base64.b64decode(first["picture"]))))
    assert content.shape == (17, 36)
    assert set(content[8, :]) == {128}
    assert content[:8, :8].std() > 1
    assert second == {"client": 1, "reason": "it sent no generator"}
    row = _generated(tmp_path)["clients"][0]
    assert (row["width"], row["height"]) == (36, 17)


def test_rows_of_a_table_as_people_read_them(tmp_path: Path) -> None:
    """A category is a name, not its code; the table has fewer columns than its encoding."""
    part = mosaic_fl.contribute(patients(60), model="mlp:8:1", client=0, settings=FEW)
    told = shown([part], tmp_path)
    (row,) = told["clients"]  # type: ignore[misc]
    columns = [column.name for column in part.schema.kind.columns]  # type: ignore[attr-defined]
    assert row["columns"] == columns
    assert [values[0] for values in row["rows"]] == ["ill"] * 3 + ["well"] * 3
    wards = {values[1 + columns.index("ward")] for values in row["rows"]}
    assert wards <= {"a", "b", "c"}


def test_there_is_an_end(pictures: Contribution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [replace(pictures, client=k) for k in range(generated.MOST_CLIENTS + 2)]
    assert shown(many, tmp_path)["more"] == 2
    monkeypatch.setattr(generated, "BUDGET", 4000)
    assert len((tmp_path / GENERATED).read_text()) > 4000
    assert shown(many, tmp_path)["more"] > 2  # type: ignore[operator]
    assert len((tmp_path / GENERATED).read_text()) < 4200


def test_large_pictures_are_made_small() -> None:
    blocks = torch.zeros(2, 4, 3, 224, 112, dtype=torch.uint8)
    assert Image.open(io.BytesIO(generated._png(blocks))).size == (2 * 43 - 2, 81)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"clients": [{}], "more": 0}', '{"clients": [{"client": 0, "picture": "<x>"}]}']
)
def test_what_is_no_such_file_is_not_shown(text: str, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / GENERATED).write_text(text)
    assert _generated(tmp_path) == {}
