"""What the generator draws beside the nearest real pictures: at the site alone, and a line says that it stays."""

import io
import stat
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib", reason="the report extra is not installed")

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.runs.neighbours import _nearest, neighbours
from test_audit_gate import files
from test_inspection import FEW
from test_private_contribution import clouds


def test_the_nearest_of_the_class_by_hand() -> None:
    """Rows at 0 and 5; real ones at 1 (class 1), 3 (class 0) and 8 (class 1)."""
    rows = torch.tensor([[0.0], [5.0]])
    real = torch.tensor([[1.0], [3.0], [8.0]])
    classes = torch.tensor([1, 0, 1])
    places, distances = _nearest(rows, None, real, classes)
    assert (places.tolist(), distances.tolist()) == ([0, 1], [1.0, 2.0])
    places, distances = _nearest(rows, torch.tensor([0, 1]), real, classes)
    assert (places.tolist(), distances.tolist()) == ([1, 2], [3.0, 3.0])
    places, _ = _nearest(rows, torch.tensor([2, 2]), real, classes)  # a class without a real one
    assert places.tolist() == [0, 1]


def test_each_drawn_one_stands_beside_the_nearest_of_its_class(digits: Dataset) -> None:
    data = digits.subset(range(60))
    made = mosaic_fl.contribute(data, model="mlp:4", client=3, settings=FEW)
    found = neighbours(made, data)
    own = {(image.numpy().tobytes(), int(label)) for image, label in zip(data.images, data.labels, strict=True)}
    for drawn, real in (found.closest, found.usual):
        assert drawn.shape == real.shape == (10, 9, 1, 8, 8)
        for label, block in enumerate(real):
            assert all((image.numpy().tobytes(), label) in own for image in block)
    gaps = (found.closest[0].float() - found.closest[1].float()).flatten(2).norm(dim=2)
    assert bool((gaps.diff(dim=1) >= -1e-4).all())  # the nearest first
    assert found.present.all()


def test_the_command_shows_them_and_says_that_they_stay(
    digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = digits.subset(range(60))
    own = files(data, tmp_path / "own.parquet")
    made = mosaic_fl.contribute(data, model="mlp:4", client=3, settings=FEW)
    (tmp_path / "a.contribution").write_bytes(made.to_bytes())
    command = ["inspect", str(tmp_path / "a.contribution"), "--pictures", str(tmp_path / "p.png")]
    assert "--pictures needs --data" in fails(capsys, *command)
    assert "--data is for --pictures" in fails(capsys, *command[:2], "--data", str(own))
    told = io.StringIO()
    mosaic(*command, "--data", str(own), cwd=tmp_path, err=told)
    assert "p.png: PRIVATE: real samples are in this picture" in told.getvalue()
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert stat.S_IMODE((tmp_path / "p.png").stat().st_mode) == 0o600
    assert "p.png exists" in fails(capsys, *command, "--data", str(own))


def test_what_has_no_pictures_is_told(digits: Dataset) -> None:
    settings = {"privacy.epsilon": 1.0, "privacy.clip": 6.0}
    vectors = mosaic_fl.contribute(clouds(), model="discriminant", client=0, settings=settings)
    with pytest.raises(UsageError, match="pictures can be shown of images alone"):
        neighbours(vectors, clouds())
    data = digits.subset(range(60))
    bare = mosaic_fl.contribute(data, model="mlp:4", client=3, settings={**FEW, "generator.family": "none"})
    with pytest.raises(UsageError, match="no generator"):
        neighbours(bare, data)
