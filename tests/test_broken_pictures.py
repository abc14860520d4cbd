"""Pictures that cannot be read: the end, or left out, with their labels, and listed."""

from pathlib import Path

import numpy as np
import pytest

from image_files import grey, png, read, write
from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.sources import load_file
from mosaic_fl.domains.image.decoding import decode
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note


class TestBroken:
    BAD = png(grey(1))[:30]

    def test_the_rest_is_read_and_its_labels_go_along(self, tmp_path: Path) -> None:
        file = write(tmp_path / "x.parquet", [0, 1, 1, 0], [png(grey(4)), self.BAD, None, png(grey(6))])
        with pytest.warns(Note, match=r"2 of 4 images of .* are left out: row 1 of .*; row 2 of .* has no image"):
            data = load_file(file, ReadingConfig(skip_broken=True), classes=2)
        assert data.labels.tolist() == [0, 0]
        assert data.images[:, 0, 0, 0].tolist() == [4, 6]

    def test_without_the_option_the_first_one_is_the_end(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"row 1 of .* is no image .*--skip-broken"):
            load_file(write(tmp_path / "x.parquet", [0, 1], [png(grey(4)), self.BAD]))

    def test_five_are_named_and_the_others_counted(self) -> None:
        with pytest.warns(Note) as notes:
            decode([png(grey(4)), *[self.BAD] * 7], "set", skip_broken=True)
        said = str(notes[0].message)
        assert said.startswith("7 of 8 images of set are left out: row 1 of set")
        assert said.endswith("; and 2 more")
        assert "row 5 of set" in said
        assert "row 6 of set" not in said

    def test_none_that_can_be_read_is_an_error(self) -> None:
        with pytest.raises(UsageError, match="none of the 2 images of set can be read: row 0 of set"):
            decode([self.BAD, None], "set", skip_broken=True)

    def test_what_another_option_would_read_is_not_broken(self) -> None:
        with pytest.raises(UsageError, match="row 1 of set has more than 8 bits"):
            decode([png(grey(1)), png(np.full((4, 4), 999, np.uint16))], "set", skip_broken=True)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"gone\.png cannot be read: No such file"):
            decode([tmp_path / "gone.png"], "set")
        with pytest.warns(Note, match="1 of 2 images of set are left out"):
            assert decode([tmp_path / "gone.png", png(grey(1))], "set", skip_broken=True).rows.tolist() == [1]

    def test_a_class_of_which_nothing_is_left(self, tmp_path: Path) -> None:
        pictures = [png(grey(4))] * 6 + [self.BAD]
        file = write(tmp_path / "x.parquet", [0, 0, 0, 1, 1, 1, 2], pictures)
        with pytest.warns(Note), pytest.raises(UsageError, match="no image of class 2 of .* can be read"):
            read(file, skip_broken=True)
