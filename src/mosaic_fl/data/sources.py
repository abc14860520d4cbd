"""A data set by name or path: training and test images of a run, or one client's own file."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.arrays import class_names
from mosaic_fl.data.dataset import ImageData, Splits
from mosaic_fl.data.decoding import decode
from mosaic_fl.data.hub import read_hub
from mosaic_fl.data.picture import picture_form
from mosaic_fl.data.reading import (
    Rows,
    class_folders,
    parquet_files,
    read_folder,
    read_parquet,
    read_pictures,
)
from mosaic_fl.data.schema import Schema
from mosaic_fl.data.validation import hold_out
from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.randomness import Stream

# The share and the stream of a test set that the data set does not bring: the same for every run's seed.
TEST_SHARE = 0.2
_TEST_STREAM = Stream(0, "test-split")

READING = ReadingConfig()  # the defaults
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")


def load(config: DataConfig, seed: int) -> Splits:
    """The training and test images of `config.name`; `seed` draws `max_train` and `max_test` samples of them.

    The name is `digits`; a folder with *train*.parquet and *test*.parquet, or the beginning of such names
    (`data/mnist`); one Parquet file; a folder of images, one sub-folder a class, or of two such folders
    called train and test; or hub:ORG/NAME. Where there is no test set, a fifth of each class becomes it.
    Images keep their channels (1 grey, 3 RGB) and size, or get `config.image_size` pixels a side. Raises
    UsageError for what is no data set, for images of different sizes, for a class that the training data or
    the names lack, and for a class only in the test set.
    """
    train_rows, test_rows = _rows(config.name)
    names = _common_names(train_rows, test_rows)
    train = _image_data(train_rows, names, config)
    if bare := np.flatnonzero(train.class_counts() == 0).tolist():
        raise UsageError(f"no image of class {names[bare[0]]} of {train_rows.source} can be read: repair some")
    if test_rows is None:
        train, test = hold_out(train, TEST_SHARE, _TEST_STREAM)
    else:
        test = _image_data(test_rows, names, config, train.schema)
    if not len(test):
        raise UsageError(f"{train_rows.source} has too few samples ({len(train)}) to set a fifth aside for testing")
    return Splits(
        config.name,
        _subset(train, config.max_train, Stream(seed, "subset-train")),
        _subset(test, config.max_test, Stream(seed, "subset-test")),
    )


def load_file(
    path: str | Path,
    reading: ReadingConfig = READING,
    schema: Schema | None = None,
    classes: int | Sequence[str] | None = None,
) -> ImageData:
    """All labelled images of one client: a Parquet file, a folder with one, or a folder of images.

    Class names come from `schema`, else from `classes` (a number, or names in the order of their labels),
    else from the file, else they are "0".."C−1" with C one more than the greatest label. A client need not
    have samples of every class: where the file or the folder names its own, they find their labels by name.
    Raises UsageError for what is no data set, and where the file's names or the images' shape disagree with
    `schema` or `classes`.
    """
    return _client_data(_labelled(path), schema.classes if schema else classes, reading, schema)


def load_test(path: str | Path, schema: Schema, reading: ReadingConfig = READING) -> ImageData:
    """Labelled test images that a model of `schema` is measured on, resized to its image size, grey where it is.

    Of a folder with training and test files, the test files. Raises UsageError as `load_file` does.
    """
    if schema.shape[0] == 1 and reading.channels == "auto":  # as in a prediction
        reading = reading.model_copy(update={"channels": "grey"})
    return _client_data(_labelled(path, test=True), schema.classes, as_schema(reading, schema), schema)


def check_test(path: str | Path) -> None:
    """Raise UsageError unless `load_test` finds labelled images; none of them is decoded."""
    _labelled(path, test=True)


def _labelled(path: str | Path, *, test: bool = False) -> Rows:
    """The rows of a Parquet file or folder: those of its training files, or with `test` of its test files if any."""
    where = _existing(path)
    train, held_out = parquet_files(where) if where.is_dir() else ([where], [])
    files = (held_out if test else []) or train
    return read_parquet(files) if files else read_folder(where)


def as_schema(reading: ReadingConfig, schema: Schema) -> ReadingConfig:
    """`reading` with the side of the schema's images, where they are squares; 0, which leaves them, where not."""
    _, height, width = schema.shape
    return reading.model_copy(update={"image_size": height if height == width else 0})


def load_images(path: str | Path, schema: Schema, reading: ReadingConfig = READING) -> Tensor:
    """Images to predict, uint8 (n, *schema.shape), in the order of a Parquet file's rows or a folder's file names.

    `path` may be one image file, too. Images are resized to the schema's size where that is a square. Raises
    UsageError where they do not have the schema's shape then.
    """
    where, shape = _existing(path), schema.shape
    form = picture_form(as_schema(reading, schema), schema)
    images = decode(read_pictures(where), str(where), form, skip_broken=reading.skip_broken).images
    _check_shape(images, shape, str(where))
    return images


def _rows(name: str) -> tuple[Rows, Rows | None]:
    """The training and, if the source has them, the test rows of a data set by name or path."""
    if name == "digits":
        return _digits(), None
    if name.startswith("hub:"):
        return read_hub(name.removeprefix("hub:"))
    path = Path(name).expanduser()
    if path.is_file():
        return read_parquet([path]), None
    train, test = parquet_files(path)
    if train:
        return read_parquet(train), read_parquet(test) if test else None
    if path.is_dir():
        return _folder(path)
    if name.startswith(("/", "~", ".")) or name.endswith((".parquet", "/")) or name.count("/") > 1:
        raise UsageError(f"{name} does not exist: give a Parquet file, a folder, hub:NAME or digits")
    if _HUB_NAME.fullmatch(name):
        return read_hub(name)
    raise UsageError(
        f"{unknown('data set', name, ['digits'])}; or give the path of a Parquet file or folder, or hub:NAME"
    )


def _digits() -> Rows:
    """scikit-learn's 1,797 handwritten digits, 8×8 pixels of 17 grey levels (Alpaydin and Kaynak 1998)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = np.rint(bunch.images * 255 / 16).astype(np.uint8)
    return Rows("digits", list(pixels), bunch.target.astype(np.int64), class_names(10))


def _folder(path: Path) -> tuple[Rows, Rows | None]:
    """The rows of an image folder, split where it consists of train and test."""
    train, test = path / "train", path / "test"
    if not (train.is_dir() and test.is_dir()):
        return read_folder(path), None
    names = sorted({*class_folders(train), *class_folders(test)})
    return read_folder(train, names), read_folder(test, names)


def _common_names(train: Rows, test: Rows | None) -> tuple[str, ...]:
    """One name per class, after checking that every class can be learned."""
    if test is not None and test.names and train.names and test.names != train.names:
        raise UsageError(f"{train.source} has the classes {_list(train.names)}, its test set {_list(test.names)}")
    tested = np.empty(0, np.int64) if test is None else test.labels
    count = max(_count(train), int(tested.max(initial=-1)) + 1)
    names = train.names or (test.names if test else None) or class_names(count)
    _check_labels(count, names, train.source)
    missing = sorted(set(range(len(names))) - set(np.unique(train.labels).tolist()))
    if only := [label for label in missing if label in tested]:
        raise UsageError(f"class {names[only[0]]} is only in the test set of {train.source}: move samples to training")
    if missing:
        raise UsageError(
            f"{train.source} has no training sample of class {_list([names[label] for label in missing])}: "
            "add some, or number the classes 0..C−1 without gaps"
        )
    return names


def _client_data(
    rows: Rows, known: int | Sequence[str] | None, reading: ReadingConfig, schema: Schema | None
) -> ImageData:
    """One client's images; `known`: the federation's class names, or how many there are."""
    names = rows.names or class_names(_count(rows) if known is None else known)
    _check_labels(_count(rows), names, rows.source)
    if known is None or known == len(names):
        return _image_data(rows, names, reading, schema)
    everybody = class_names(known)
    if strange := [name for name in names if name not in everybody]:
        if isinstance(known, int | np.integer):
            raise UsageError(
                f"{rows.source} has the classes {_list(names)}, and there are {known} in all: give the names of all, "
                f"as {','.join(names[:2])},…"
            )
        raise UsageError(f"class {strange[0]} of {rows.source} is none of the classes {_list(everybody)}")
    labels = np.array([everybody.index(name) for name in names])[rows.labels]
    return _image_data(replace(rows, labels=labels), everybody, reading, schema)


def _image_data(rows: Rows, names: tuple[str, ...], reading: ReadingConfig, schema: Schema | None = None) -> ImageData:
    _check_labels(_count(rows), names, rows.source)
    if len(names) < 2:
        raise UsageError(f"{rows.source} shows one class only: give the number of all classes, or their names")
    form = picture_form(reading, schema)
    decoded = decode(rows.pictures, rows.source, form, skip_broken=reading.skip_broken)
    if schema is None:
        channels, height, width = decoded.images.shape[1:]
        schema = Schema((channels, height, width), names, form.fit)
    _check_shape(decoded.images, schema.shape, rows.source)
    return ImageData(decoded.images, torch.tensor(rows.labels)[decoded.rows], schema)


def _check_labels(count: int, names: Sequence[str], source: str) -> None:
    if count > len(names):
        raise UsageError(f"{source} has label {count - 1}, but there are {len(names)} classes: {_list(names)}")


def _check_shape(images: Tensor, shape: tuple[int, int, int], source: str) -> None:
    if tuple(images.shape[1:]) != shape:
        found, wanted = ("×".join(map(str, s)) for s in (images.shape[1:], shape))
        raise UsageError(
            f"the images of {source} are {found}, not {wanted}: resize with --image-size N (data.image_size)"
        )


def _count(rows: Rows) -> int:
    return int(rows.labels.max()) + 1


def _subset(data: ImageData, most: int, stream: Stream) -> ImageData:
    """At most `most` samples at random, in their order; 0: all."""
    if not 0 < most < len(data):
        return data
    return data.subset(np.sort(stream.numpy().choice(len(data), most, replace=False)))


def _existing(path: str | Path) -> Path:
    where = Path(path).expanduser()
    if not where.exists():
        raise UsageError(f"{path} does not exist")
    return where


def _list(names: Sequence[str]) -> str:
    """The first few names, for an error."""
    return ", ".join(names[:10]) + (f", … ({len(names)} in all)" if len(names) > 10 else "")
