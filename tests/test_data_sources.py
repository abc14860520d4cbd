"""Data sets by name and path: what is read is what was written."""

import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from image_files import folder, grey, png, read, to_predict, write
from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.arrays import from_arrays
from mosaic_fl.data.export import save_parquet
from mosaic_fl.data.parts import locate
from mosaic_fl.data.sources import load, load_file, load_test
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError


class TestDigits:
    def test_pixels_are_rounded_to_0_255_and_classes_are_stratified(self) -> None:
        splits = read("digits")
        assert splits.train.schema == image_schema((1, 8, 8), tuple("0123456789"))
        # 16 grey levels: 1 of 16 is 255/16 = 15.9, 8 of 16 is 127.5, to the even 128.
        assert {0, 16, 128, 255} <= set(splits.train.images.unique().tolist())
        # 178 zeros and 174 eights: floor(178 / 5) = 35 and floor(174 / 5) = 34 are for testing.
        assert splits.test.class_counts()[[0, 8]].tolist() == [35, 34]
        assert len(splits.train) + len(splits.test) == 1797

    def test_the_test_set_does_not_depend_on_the_seed(self) -> None:
        assert torch.equal(read("digits", 0).test.images, read("digits", 1).test.images)

    def test_subsets_depend_on_the_seed_alone(self) -> None:
        first, again, other = (read("digits", seed, max_train=50, max_test=7) for seed in (0, 0, 1))
        assert (len(first.train), len(first.test)) == (50, 7)
        assert torch.equal(first.train.images, again.train.images)
        assert not torch.equal(first.train.images, other.train.images)

    def test_image_size_resizes(self) -> None:
        assert read("digits", image_size=12, max_train=3).train.schema.shape == (1, 12, 12)


class TestParquet:
    def test_a_folder_with_train_and_test_files(self, tmp_path: Path) -> None:
        write(tmp_path / "x-train.parquet", [0, 1, 1], columns=("img", "fine_label"))
        write(tmp_path / "x-test.parquet", [1, 0], columns=("img", "labels"))
        splits = read(tmp_path)
        assert splits.train.labels.tolist() == [0, 1, 1]
        assert splits.train.images[:, 0, 0, 0].tolist() == [0, 1, 2]
        assert splits.test.labels.tolist() == [1, 0]
        assert splits.test.schema.classes == ("0", "1")

    def test_shards_of_one_data_set_are_joined_in_order(self, tmp_path: Path) -> None:
        write(tmp_path / "train-00001-of-00002.parquet", [1, 1])
        write(tmp_path / "train-00000-of-00002.parquet", [0])
        write(tmp_path / "test.parquet", [0])
        assert read(tmp_path).train.labels.tolist() == [0, 1, 1]

    def test_the_beginning_of_the_names_chooses_one_of_several(self, tmp_path: Path) -> None:
        for start in ("a", "b"):
            write(tmp_path / f"{start}-train.parquet", [0, 1])
            write(tmp_path / f"{start}-test.parquet", [0])
        place = locate(tmp_path / "b")
        assert place is not None
        assert place.training() == [tmp_path / "b-train.parquet"]
        assert place.testing() == [tmp_path / "b-test.parquet"]
        assert len(read(tmp_path / "b").train) == 2
        with pytest.raises(UsageError, match=r"more than one data set \(a-train, b-train\).*such as .*/a$"):
            read(tmp_path)

    def test_one_file_gives_a_fifth_of_each_class_for_testing(self, tmp_path: Path) -> None:
        splits = read(write(tmp_path / "all.parquet", [0] * 10 + [1] * 5 + [2] * 4))
        assert splits.test.class_counts().tolist() == [2, 1, 0]
        assert splits.train.class_counts().tolist() == [8, 4, 4]

    def test_class_names_come_from_the_metadata(self, tmp_path: Path) -> None:
        file = write(tmp_path / "all.parquet", [0, 1] * 5, names=["cat", "dog"])
        assert read(file).train.schema.classes == ("cat", "dog")

    @pytest.mark.parametrize("wrap", [lambda of: {"feature": of, "_type": "List"}, lambda of: [of]])
    def test_class_names_of_labels_in_lists_of_one(self, tmp_path: Path, wrap: Any) -> None:
        """As `datasets` has them for a data set of several labels, which may have one each."""
        file = write(tmp_path / "all.parquet", [[1], [0]])
        features = {"label": wrap({"names": ["owl", "cat"], "_type": "ClassLabel"})}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(pq.read_table(file).replace_schema_metadata(metadata), file)
        assert load_file(file).schema.classes == ("owl", "cat")
        assert load_file(file, classes=["cat", "owl"]).labels.tolist() == [0, 1]

    def test_grey_pictures_have_one_channel_and_one_coloured_picture_makes_three(self, tmp_path: Path) -> None:
        red = png(np.array([[[255, 0, 0]] * 4] * 4, np.uint8))
        mixed = load_file(write(tmp_path / "mixed.parquet", [0, 1], [png(grey(7)), red]))
        assert mixed.images[:, :, 0, 0].tolist() == [[7, 7, 7], [255, 0, 0]]
        assert load_file(write(tmp_path / "grey.parquet", [0, 1])).schema.shape == (1, 4, 4)

    def test_photographs_are_turned_upright(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 3  # orientation: upside down
        file = io.BytesIO()
        Image.fromarray(np.array([[0, 9]], np.uint8)).save(file, format="PNG", exif=exif)
        data = load_file(write(tmp_path / "x.parquet", [1], [file.getvalue()]), classes=2)
        assert data.images.flatten().tolist() == [9, 0]

    def test_other_sizes_need_image_size(self, tmp_path: Path) -> None:
        file = write(tmp_path / "sizes.parquet", [0, 1], [png(grey(9)), png(grey(9, 5, 3))])
        with pytest.raises(UsageError, match=r"row 1 of .* has 5×3 pixels, the first 4×4.*data\.image_size"):
            load_file(file)
        assert load_file(file, ReadingConfig(image_size=4)).images.unique().tolist() == [9]


class TestImageFolder:
    def test_classes_are_the_sub_folders_and_train_and_test_are_splits(self, tmp_path: Path) -> None:
        folder(tmp_path / "train", dog=3, cat=2)
        folder(tmp_path / "test", cat=1, dog=1)
        splits = read(tmp_path)
        assert splits.train.schema.classes == ("cat", "dog")
        assert splits.train.labels.tolist() == [0, 0, 1, 1, 1]
        assert splits.test.labels.tolist() == [0, 1]

    def test_what_is_hidden_is_nobody_s_class_and_no_image(self, tmp_path: Path) -> None:
        """Jupyter leaves folders of copies, macOS files beside those of other people."""
        folder(tmp_path, **{"ship": 5, "train": 5, ".ipynb_checkpoints": 3})
        (tmp_path / "ship" / "._000.png").write_bytes(b"no image")
        (tmp_path / "._mine.parquet").write_bytes(b"no table")
        splits = read(tmp_path)
        assert splits.train.schema.classes == ("ship", "train")
        assert len(splits.train) + len(splits.test) == 10

    def test_a_class_may_be_called_train(self, tmp_path: Path) -> None:
        splits = read(folder(tmp_path, train=5, ship=5))
        assert splits.train.schema.classes == ("ship", "train")
        assert splits.test.class_counts().tolist() == [1, 1]

    def test_a_client_holds_some_of_the_known_classes(self, tmp_path: Path) -> None:
        data = load_file(folder(tmp_path, dog=2), classes=["cat", "dog", "owl"])
        assert data.class_counts().tolist() == [0, 2, 0]
        with pytest.raises(UsageError, match=r"class dog of .* is none of the classes cat, owl"):
            load_file(tmp_path, classes=["cat", "owl"])

    def test_folders_called_by_numbers_are_labels(self, tmp_path: Path) -> None:
        data = load_file(folder(tmp_path, **{"0": 1, "3": 2}), classes=10)
        assert data.class_counts().tolist() == [1, 0, 0, 2, 0, 0, 0, 0, 0, 0]
        assert load_file(tmp_path).schema.classes == ("0", "3")
        with pytest.raises(UsageError, match=r"has the classes 0, 3, and there are 3 in all: .* all, as 0,3,…"):
            load_file(tmp_path, classes=3)
        assert load_file(folder(tmp_path / "one", **{"0": 2}), classes=2).class_counts().tolist() == [2, 0]

    def test_a_class_only_in_the_test_folder(self, tmp_path: Path) -> None:
        folder(tmp_path / "train", a=1, b=1)
        folder(tmp_path / "test", a=1, c=1)
        with pytest.raises(UsageError, match="class c is only in the test set"):
            read(tmp_path)

    def test_no_images(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="neither Parquet files nor sub-folders of images"):
            read(tmp_path)


class TestOneClient:
    def test_names_come_from_the_file_else_from_the_number_of_classes(self, tmp_path: Path) -> None:
        plain = write(tmp_path / "plain.parquet", [2, 0, 1])
        named = write(tmp_path / "named.parquet", [1], names=["a", "b", "c"])
        assert load_file(plain).schema.classes == ("0", "1", "2")
        assert load_file(plain, classes=5).schema.classes == tuple("01234")
        assert load_file(named).schema.classes == ("a", "b", "c")
        assert load_file(named, classes=3).schema.classes == ("a", "b", "c")

    def test_what_disagrees_with_the_schema_is_an_error(self, tmp_path: Path) -> None:
        plain = write(tmp_path / "plain.parquet", [2, 0])
        named = write(tmp_path / "named.parquet", [1], names=["a", "b"])
        names = ("a", "b", "c")
        assert load_file(plain, schema=image_schema((1, 4, 4), names)).schema.classes == names
        for schema, message in (
            (image_schema((1, 8, 8), names), r"are 1×4×4, not 1×8×8: .*image_size"),
            (image_schema((1, 4, 4), ("a", "b")), r"has label 2, but there are 2 classes: a, b"),
        ):
            with pytest.raises(UsageError, match=message):
                load_file(plain, schema=schema)
        with pytest.raises(UsageError, match=r"has the classes a, b, and there are 4 in all: .* all, as a,b,…"):
            load_file(named, classes=4)

    def test_labels_are_found_by_their_names(self, tmp_path: Path) -> None:
        named = write(tmp_path / "named.parquet", [1, 0, 1], names=["a", "b"])
        for known in (["b", "c", "a"], image_schema((1, 4, 4), ("b", "c", "a")).classes):
            assert load_file(named, classes=known).labels.tolist() == [0, 2, 0]
        with pytest.raises(UsageError, match=r"class b of .*named.parquet is none of the classes a, c"):
            load_file(named, classes=["a", "c"])

    def test_one_class_alone_does_not_say_how_many_there_are(self, tmp_path: Path) -> None:
        file = write(tmp_path / "one.parquet", [0, 0])
        with pytest.raises(UsageError, match="shows one class only: give the number of all classes, or their names"):
            load_file(file)
        assert load_file(file, classes=2).class_counts().tolist() == [2, 0]

    def test_a_coloured_picture_where_the_schema_is_grey(self, tmp_path: Path) -> None:
        file = write(tmp_path / "red.parquet", [0, 1], [png(np.full((4, 4, 3), (200, 0, 0), np.uint8))] * 2)
        with pytest.raises(UsageError, match=r"row 0 of .* is coloured \(mode RGB\), where grey"):
            load_file(file, schema=image_schema((1, 4, 4), ("a", "b")))


NAMES = ("a", "b")


class TestImagesToPredict:
    def test_parquet_folder_and_one_file_give_the_same_pixels(self, tmp_path: Path) -> None:
        file = write(tmp_path / "x.parquet", [0, 1])
        flat = folder(tmp_path / "images", a=2)
        for source in (file, flat, flat / "a"):
            assert to_predict(source, image_schema((1, 4, 4), NAMES))[:, 0, 0, 0].tolist() == [0, 1]
        assert to_predict(flat / "a" / "001.png", image_schema((1, 4, 4), NAMES)).shape == (1, 1, 4, 4)

    def test_square_images_are_resized_to_the_models_size(self, tmp_path: Path) -> None:
        file = write(tmp_path / "x.parquet", [0, 1])
        assert to_predict(file, image_schema((1, 8, 8), NAMES)).shape == (2, 1, 8, 8)
        assert load_test(file, image_schema((1, 8, 8), NAMES)).images.shape == (2, 1, 8, 8)

    @pytest.mark.parametrize("size", [4, 5])
    def test_another_size_is_not_used_and_that_is_told(self, tmp_path: Path, size: int) -> None:
        file, reading = write(tmp_path / "x.parquet", [0, 1]), ReadingConfig(image_size=5)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            data = load_test(file, image_schema((1, size, size), NAMES), reading)
        assert data.images.shape == (2, 1, size, size)
        notes = [f"{file} is read as the model takes it, 4×4 pixels: not by --image-size 5"] * (size == 4)
        assert [str(warning.message) for warning in told] == notes

    def test_for_a_model_of_no_squares_no_size_is_a_way_out(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="are 1×4×4, not 1×8×6: resize them yourself"):
            load_test(write(tmp_path / "x.parquet", [0, 1]), image_schema((1, 8, 6), NAMES))

    def test_of_a_folder_the_test_files_measure_a_model(self, tmp_path: Path) -> None:
        write(tmp_path / "d-train.parquet", [0, 1, 0])
        write(tmp_path / "d-test.parquet", [1])
        assert load_test(tmp_path, image_schema((1, 4, 4), NAMES)).labels.tolist() == [1]
        assert len(load_file(tmp_path)) == 3

    def test_labels_play_no_part(self, tmp_path: Path) -> None:
        assert len(to_predict(write(tmp_path / "x.parquet", ["?", "?"]), image_schema((1, 4, 4), NAMES))) == 2


class TestExport:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_round_trip_is_exact(self, tmp_path: Path, channels: int) -> None:
        images = np.random.default_rng(0).integers(0, 256, (5, channels, 6, 7), np.uint8)
        data = from_arrays(images, [0, 2, 1, 0, 2], classes=["a", "b", "c", "d"])
        save_parquet(data, tmp_path / "x.parquet")
        same(load_file(tmp_path / "x.parquet"), data)

    def test_digits_survive(self, tmp_path: Path, digits: Dataset) -> None:
        save_parquet(digits, tmp_path / "x.parquet")
        same(load_file(tmp_path / "x.parquet"), digits)

    def test_other_channels_and_unwritable_places_are_errors(self, tmp_path: Path) -> None:
        four = from_arrays(np.zeros((2, 4, 6, 6), np.uint8), [0, 1])
        with pytest.raises(UsageError, match="images of 4 channels cannot be stored as PNG"):
            save_parquet(four, tmp_path / "x.parquet")
        assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "rows", "columns", "classes"),
    [("breast_cancer", 569, 30, ("benign", "malignant")), ("wine", 178, 13, ("class_0", "class_1", "class_2"))],
)
def test_tables_that_are_built_in(name: str, rows: int, columns: int, classes: tuple[str, ...]) -> None:
    """A fifth of each class is for testing: rounded a class, so within a row a class of a fifth of all."""
    splits = load(DataConfig(name=name), 0)
    assert splits.train.schema.classes == classes
    assert splits.train.schema.summary.startswith(f"rows of {columns} columns")
    assert len(splits.train) + len(splits.test) == rows
    assert len(splits.test) == pytest.approx(rows / 5, abs=len(classes))


def same(one: Dataset, other: Dataset) -> None:
    assert one.schema == other.schema
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
