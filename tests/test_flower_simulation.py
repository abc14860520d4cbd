"""`mosaic run --engine flower`: Flower's simulation on Ray gives the bytes that the local engine gives."""

import json
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the flower extra is not installed")

from command import QUICK, mosaic, start


def test_the_same_bytes_as_the_local_engine(tmp_path: Path) -> None:
    words = ("run", "--clients", "3", "--centralised", *QUICK)
    mosaic(*words, "--out", "local", cwd=tmp_path)
    with start(*words, "--engine", "flower", "--workers", "2", "--out", "flower", cwd=tmp_path) as process:
        said, complaints = process.communicate(timeout=240)
    assert process.returncode == 0, complaints
    assert "Results: flower/" in said
    files = ["global_model.safetensors", *(f"contributions/client-{k:03d}.contribution" for k in range(3))]
    for name in files:
        assert (tmp_path / "flower" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    ours, theirs = (json.loads((tmp_path / out / "result.json").read_text()) for out in ("flower", "local"))
    for one in (ours, theirs):
        *stages, total = one.pop("seconds").values()
        assert total == pytest.approx(sum(stages), abs=1e-9)
    assert ours == theirs
    assert not (tmp_path / "flower" / "received").exists()


def test_a_black_box_is_asked_in_its_process(tmp_path: Path) -> None:
    """Its model is trained there, and gives the bytes that the local engine gives."""
    words = ("run", "--clients", "2", "--models", "mlp:8,answers:logistic", "--student", "mlp:8", *QUICK)
    mosaic(*words, "--out", "local", cwd=tmp_path)
    with start(*words, "--engine", "flower", "--workers", "2", "--out", "flower", cwd=tmp_path) as process:
        _, complaints = process.communicate(timeout=240)
    assert process.returncode == 0, complaints
    names = ["global_model.safetensors", "contributions/client-001.contribution"]
    for name in names:
        assert (tmp_path / "flower" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
