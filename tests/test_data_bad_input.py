"""Data that is none, or lacks something: one clear line that names the value."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_files import grey, png, read, write
from mosaic_fl.data.inputs import read_inputs
from mosaic_fl.data.sources import load_file
from mosaic_fl.errors import UsageError


class TestBadInput:
    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([0.0, 0.5], "row 1 of .* has label 0.5: labels are whole numbers or text"),
            (["cat", " "], "row 1 of .* has no label"),
            (["cat", None], "row 1 of .* has no label"),
            ([{"x": 1}], "labels must be whole numbers 0..C−1 or text, but column label of .* is struct"),
            ([[0, 1]], "row 0 of .* has no one label: column label is list"),
            ([0, None], "row 1 of .* has no label"),
            ([0, -1], "row 1 of .* has label -1"),
            ([0, 10_000], "row 1 of .* has label 10000: .*at most 10000 classes"),
            ([0, 1, 3], "no training sample of class 2: add some"),
            ([0, 0], "shows one class only"),
            ([0, 1], r"too few samples \(2\) to set a fifth aside"),
        ],
    )
    def test_labels(self, tmp_path: Path, labels: Any, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            read(write(tmp_path / "bad.parquet", labels))

    def test_a_named_class_without_a_training_sample(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no training sample of class c"):
            read(write(tmp_path / "bad.parquet", [0, 1], names=["a", "b", "c"]))

    def test_a_class_only_in_the_test_set(self, tmp_path: Path) -> None:
        write(tmp_path / "train.parquet", [0, 1])
        write(tmp_path / "test.parquet", [0, 2])
        with pytest.raises(UsageError, match="class 2 is only in the test set"):
            read(tmp_path)

    def test_train_and_test_with_other_names(self, tmp_path: Path) -> None:
        write(tmp_path / "train.parquet", [0, 1], names=["a", "b"])
        write(tmp_path / "test.parquet", [0, 1], names=["b", "a"])
        assert read(tmp_path).test.labels.tolist() == [1, 0]  # by name
        write(tmp_path / "test.parquet", [0, 1], names=["a", "x"])
        with pytest.raises(UsageError, match="class x is only in the test set"):
            read(tmp_path)

    def test_a_test_file_without_a_training_file(self, tmp_path: Path) -> None:
        write(tmp_path / "test.parquet", [0, 1])
        with pytest.raises(UsageError, match=r"no \*train\*.parquet"):
            read(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + bytes(100) + b"PAR1"])
    def test_a_file_that_is_no_parquet(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.parquet").write_bytes(content)
        with pytest.raises(UsageError, match=r"x\.parquet cannot be read as Parquet") as caught:
            read(tmp_path / "x.parquet")
        assert "\n" not in str(caught.value)

    def test_a_file_of_another_kind_says_what_is_read(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4)))
        with pytest.raises(UsageError, match=r"x\.npz has no column features .*; it has images"):
            load_file(tmp_path / "x.npz")

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        file = write(tmp_path / "x.parquet", [0, 1] * 50)
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(UsageError, match="cannot be read as Parquet"):
            read(file)

    def test_missing_columns_and_other_types(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
        with pytest.raises(UsageError, match="has no column image or img; it has x"):
            read(tmp_path / "x.parquet")
        pq.write_table(pa.table({"image": [1], "label": [1]}), tmp_path / "y.parquet")
        with pytest.raises(UsageError, match=r"column image of .* is int64, not images"):
            read(tmp_path / "y.parquet")

    def test_no_rows(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="has no rows"):
            read(write(tmp_path / "x.parquet", pa.array([], pa.int64())))

    @pytest.mark.parametrize(
        ("picture", "message"),
        [
            (b"nonsense", r"row 1 of .* is no image that is known here \(PNG, JPEG"),
            (png(grey(1))[:-20], "row 1 of .* cannot be decoded as an image"),
            # EPS would start Ghostscript, so it is not among the formats.
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n", "row 1 of .* is no image"),
            (None, "row 1 of .* has no image"),
            (png(np.full((4, 4), 999, np.uint16)), "row 1 of .* has more than 8 bits a pixel"),
            (png(grey(1, 1, 1025)), "row 1 of .* has 1×1025 pixels, at most 1024 a side"),
        ],
    )
    def test_pictures(self, tmp_path: Path, picture: bytes | None, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            load_file(write(tmp_path / "x.parquet", [0, 1], [png(grey(1)), picture]))

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("digit", "unknown data set 'digit': did you mean digits.*hub:NAME"),
            ("mnist", "unknown data set 'mnist'.*path of a Parquet file.*hub:NAME"),
            ("./nowhere", "./nowhere does not exist"),
            ("nowhere.parquet", "nowhere.parquet does not exist"),
            ("org/name", "hub:org/name cannot be loaded: .*the path of Parquet files works too"),
            ("hub:name", "hub:name cannot be loaded"),
        ],
    )
    def test_names(self, name: str, message: str) -> None:
        with pytest.raises(UsageError, match=message) as caught:
            read(name)
        assert "\n" not in str(caught.value)

    def test_paths_of_one_client(self, tmp_path: Path) -> None:
        for call in (load_file, read_inputs):
            with pytest.raises(UsageError, match="nowhere does not exist"):
                call(tmp_path / "nowhere")

    def test_paths_that_are_none(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        simulation = read
        for call in (load_file, simulation, read_inputs):
            with pytest.raises(UsageError, match="fifo (is neither a file nor a folder|does not exist)"):
                call(tmp_path / "fifo")
            with pytest.raises(UsageError, match="cannot read x.*: File name too long"):
                call("x" * 5000)
            with pytest.raises(UsageError, match="there is no such home"):
                call("~no.such.user/x")
            with pytest.raises(UsageError):
                call("a\0b")
