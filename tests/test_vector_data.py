"""Vectors from arrays and files: .npz, .npy and Parquet, which may be hostile; a run and its predictions."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import mosaic_fl
from command import mosaic
from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.export import save_parquet
from mosaic_fl.data.sources import load, load_file, load_test
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.vector import Vector
from mosaic_fl.errors import UsageError

Array = npt.NDArray[Any]


def blobs(count: int, classes: int = 3, size: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """Vectors around 4 in the place of their class, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return (rng.normal(size=(count, size)) + 4 * np.eye(size)[labels]).astype(np.float32), labels


def test_floats_of_two_axes_are_vectors_and_stay_as_they_are() -> None:
    data = mosaic_fl.from_arrays(np.array([[0.5, 1e3], [-7, 2]]), [0, 1])
    assert data.schema.kind == Vector(2)
    assert data.samples.only.tolist() == [[0.5, 1000.0], [-7.0, 2.0]]


@pytest.mark.parametrize("values", [[[1.0, np.nan]], [[np.inf, 1]], [[1e300, 1]]])
def test_arrays_with_numbers_that_are_not_finite_are_refused(values: list[list[float]]) -> None:
    with pytest.raises(UsageError, match="vector 1 has"):
        mosaic_fl.from_arrays([[0.0, 0.0], *values], [0, 1])


def test_whole_numbers_of_two_axes_are_still_neither_images_nor_vectors() -> None:
    with pytest.raises(UsageError, match="images have the shape"):
        mosaic_fl.from_arrays(np.zeros((2, 64), np.uint8), [0, 1])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The same vectors as .npz and Parquet, with labels by two usual names."""
    values, labels = blobs(30)
    np.savez(tmp_path / "a.npz", features=values, labels=labels)
    np.savez_compressed(tmp_path / "b.npz", X=np.asfortranarray(values.astype(np.float64)), y=labels, ids=labels)
    pq.write_table(pa.table({"id": labels, "embedding": list(values), "label": labels}), tmp_path / "c.parquet")
    return tmp_path


@pytest.mark.parametrize("name", ["a.npz", "b.npz", "c.parquet"])
def test_files_hold_the_same_vectors(files: Path, name: str) -> None:
    data = load_file(files / name)
    assert data.schema.kind == Vector(4)
    assert torch.equal(data.samples.only, torch.from_numpy(blobs(30)[0]))
    assert data.labels.tolist() == [0, 1, 2] * 10
    splits = load(DataConfig(name=str(files / name)), 0)
    assert (len(splits.train), len(splits.test)) == (24, 6)
    assert len(load_test(files / name, data.schema)) == 30


def test_text_labels_are_classes_and_a_client_may_lack_some(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", features=np.ones((2, 3)), labels=["dog", "cat"])
    assert load_file(tmp_path / "a.npz").schema.classes == ("cat", "dog")
    data = load_file(tmp_path / "a.npz", classes=["cat", "cow", "dog"])
    assert data.labels.tolist() == [2, 0]


def test_a_folder_of_two_files_has_a_training_and_a_test_part(tmp_path: Path) -> None:
    for part, count in (("train", 12), ("test", 6)):
        values, labels = blobs(count)
        np.savez(tmp_path / f"{part}.npz", features=values, labels=labels)
    splits = load(DataConfig(name=str(tmp_path)), 0)
    assert (len(splits.train), len(splits.test)) == (12, 6)


def test_exported_vectors_come_back_bit_for_bit(tmp_path: Path) -> None:
    data = mosaic_fl.from_arrays(*blobs(9), classes=["a", "b", "c"])
    save_parquet(data, tmp_path / "a.parquet")
    again = load_file(tmp_path / "a.parquet")
    assert again.schema == data.schema
    assert torch.equal(again.samples.only, data.samples.only)
    assert torch.equal(again.labels, data.labels)


def test_a_column_of_vectors_may_be_named(files: Path) -> None:
    values, labels = blobs(6)
    pq.write_table(pa.table({"mine": list(values), "out": labels}), files / "d.parquet")
    data = load_file(files / "d.parquet", ReadingConfig(image_column="mine", label_column="out"))
    assert data.schema.kind == Vector(4)


def npy(shape: tuple[int, ...], content: bytes, kind: str = "<f4") -> bytes:
    """The bytes of an array file with any header."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def npz(**members: bytes) -> bytes:
    """The bytes of a file of these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


LABELS = npy((2,), bytes(16), "<i8")
GOOD = npy((2, 3), bytes(24))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 and no more", "no .npz file"),
        (npz(labels=LABELS), "has no column features"),
        (npz(features=GOOD), "has no labels"),
        (npz(features=npy((2**40, 3), bytes(24)), labels=LABELS), r"does not have 24 bytes"),
        (npz(features=npy((2, -3), bytes(24)), labels=LABELS), "does not have 24 bytes"),
        (npz(features=npy((2, 3), b"cos\nsystem\n", "|O"), labels=LABELS), "neither numbers nor text"),
        (npz(features=b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, labels=LABELS), "header cannot be read"),
        (npz(features=b"", labels=LABELS), "header cannot be read"),
        (npz(features=npy((6,), bytes(24)), labels=LABELS), r"no numbers \(n, size\)"),
        (npz(features=npy((0, 3), b""), labels=npy((0,), b"", "<i8")), "no rows"),
        (npz(features=npy((2, 0), b""), labels=LABELS), "vectors of 0 numbers"),
        (npz(features=npy((1, 3), bytes(12)), labels=LABELS), "1 vectors, but 2 labels"),
        (npz(features=npy((2**15, 2**13), bytes(2**28)), labels=LABELS), "unfolds to more than"),
    ],
)
def test_hostile_files_are_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.npz"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        load_file(file, classes=2)
    assert "\n" not in str(caught.value)


def test_lists_of_different_lengths_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"features": [[1.0, 2.0], [1.0]], "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="row 1 of .* has 1 numbers, row 0 2"):
        load_file(tmp_path / "a.parquet")


def test_vectors_of_another_size_than_the_schema_are_refused(files: Path) -> None:
    schema = mosaic_fl.from_arrays(np.zeros((3, 5)), [0, 1, 2]).schema
    with pytest.raises(UsageError, match="vectors of 4 numbers, and the schema says vectors of 5 numbers"):
        load_file(files / "a.npz", schema=schema)


def test_a_run_on_vectors_makes_a_model_that_predicts_from_files_and_arrays(tmp_path: Path) -> None:
    values, labels = blobs(300)
    np.savez(tmp_path / "a.npz", features=values, labels=labels)
    words = ["--method", "fedavg", "--clients", "2", "--rounds", "2", "--set", "rounds.steps=60", "--workers", "1"]
    mosaic("run", "--data", "a.npz", *words, "--alpha", "1", "--out", "run", cwd=tmp_path)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["accuracy"] > 0.9  # chance is 0.33
    new, answers = blobs(40, seed=1)
    np.save(tmp_path / "new.npy", np.concatenate([new, [[np.nan] * 4]]).astype(np.float32))
    rows = mosaic("predict", "run", "--data", "new.npy", cwd=tmp_path).splitlines()
    assert len(rows) == 41
    assert "not finite" in json.loads(rows[40])["error"]
    model = mosaic_fl.GlobalModel.load(tmp_path / "run")
    assert model.evaluate(new, answers).accuracy > 0.9
    assert model.predict(new).tolist() == [json.loads(row)["class"] for row in rows[:40]]
    with pytest.raises(UsageError, match=r"vectors are float32 \(40, 3\), but the model takes numbers \(n, 4\)"):
        model.predict(new[:, :3])


def test_sites_contribute_vectors_by_arrays() -> None:
    data = mosaic_fl.from_arrays(*blobs(60))
    assert isinstance(data, Dataset)
    settings = {"train.max_steps": 20, "train.min_steps": 10, "generator.family": "none"}
    one = mosaic_fl.contribute(data, model="mlp:8", client=0, settings=settings)
    again = mosaic_fl.Contribution.from_bytes(one.to_bytes())
    assert again.schema == data.schema
