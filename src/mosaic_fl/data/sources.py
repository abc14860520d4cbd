"""A data set by name or path: the training and test samples of a run, or the samples of one client."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.agreement import common_classes
from mosaic_fl.data.csv_list import read_csv
from mosaic_fl.data.delimited import CSV_SUFFIXES
from mosaic_fl.data.embedded import LABEL, digits, digits_views, embedded_table
from mosaic_fl.data.fields.settings import reading_of_fields, with_image_columns
from mosaic_fl.data.fields.splits import field_splits, load_field_rows, load_field_splits, require_files_of
from mosaic_fl.data.folders import read_folder
from mosaic_fl.data.hub import read_hub
from mosaic_fl.data.labels import in_classes
from mosaic_fl.data.parts import Place, locate
from mosaic_fl.data.places import (
    EMBEDDED,
    EMBEDDED_TABLES,
    EMBEDDED_VIEWS,
    HUB_NAME,
    at_home,
    existing,
    is_lost_path,
    no_source,
)
from mosaic_fl.data.reading import read_parquet
from mosaic_fl.data.rows import READING, Rows, join
from mosaic_fl.data.table.reading import is_table
from mosaic_fl.data.tables import are_tables, is_tabular, load_rows, load_splits, require_more, splits_of
from mosaic_fl.data.validation import TEST_SHARE, Indices, hold_out
from mosaic_fl.data.vectors import are_vectors, load_vectors, of_vectors, vector_splits
from mosaic_fl.domains.dataset import Dataset, Splits, image_dataset
from mosaic_fl.domains.image.decoding import decode
from mosaic_fl.domains.image.form import picture_form
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream

# The stream of a test set, for a data set without one: the same for every seed of a run.
TEST_STREAM = Stream(0, "test-split")


def load(config: DataConfig, seed: int) -> Splits:
    """The training and test images of `config.name`; `seed` draws `max_train` and `max_test` samples of them.

    The name is that of an embedded set, as `digits`; a folder with *train*.parquet and *test*.parquet, or the beginning
    of such names (`data/mnist`); one Parquet file, or a CSV that lists files and labels; a folder of images, one
    sub-folder a class, or of such folders called train, test or validation, which may have lists, too; or hub:ORG/NAME.
    Without a test set, the validation set is used as one, or a fifth of each class. Images keep their channels (1 grey,
    3 RGB) and size, or get `config.image_size` pixels a side. Raises UsageError for anything but a data set, for images
    of different sizes, for a class that the training data or the names lack, and for a class only in the test set.
    """
    config = with_image_columns(config)
    place = _own_place(config.name, config)
    if config.name in EMBEDDED and Path(config.name).exists():
        note(
            f"{config.name} is the data set that is built in; for the file or folder of that name write ./{config.name}"
        )
    if config.name in EMBEDDED_TABLES:
        labelled = config.model_copy(update={"label_column": config.label_column or LABEL})
        return _subsets(splits_of(embedded_table(config.name), None, labelled, TEST_STREAM), config, seed)
    if config.name == EMBEDDED_VIEWS:
        labelled = config.model_copy(update={"label_column": config.label_column or LABEL})
        return _subsets(field_splits(digits_views(), None, labelled, TEST_STREAM), config, seed)
    if config.image_columns:
        files = require_files_of(place, config)
        return _subsets(load_field_splits(files, place.testing() if place else [], config, TEST_STREAM), config, seed)
    if place is not None and not config.schema_file and are_vectors(place.training(), config):
        return _subsets(vector_splits(place.training(), place.testing(), config, TEST_STREAM), config, seed)
    if place is not None and are_tables(place.training(), config):
        splits = load_splits(place.training(), place.testing(), config, TEST_STREAM)
        return _subsets(splits, config, seed)
    if config.split_column:
        raise UsageError(f"{config.name} has no columns to divide by: leave out --split-column {config.split_column}")
    train_rows, test_rows = common_classes(*_rows(config.name, place, config))
    names = train_rows.names or ()
    train = _image_data(train_rows, names, config)
    if bare := np.flatnonzero(train.class_counts() == 0).tolist():
        raise UsageError(f"no image of class {names[bare[0]]} of {train_rows.source} can be read: repair some")
    if test_rows is None:
        train, test = hold_out(train, TEST_SHARE, TEST_STREAM)
    else:
        test = _image_data(test_rows, train.schema.classes, config, train.schema)
    if not len(test):
        raise UsageError(f"{train_rows.source} has too few samples ({len(train)}) to set a fifth aside for testing")
    return _subsets(Splits(config.name, train, test), config, seed)


def load_file(
    path: str | Path,
    reading: ReadingConfig = READING,
    schema: Schema | None = None,
    classes: int | Sequence[str] | None = None,
) -> Dataset:
    """All labelled images of one client: a Parquet file, a CSV list, a folder with one, or a folder of images.

    Class names come from `schema`, else from `classes` (a number, or names in the order of their labels), else from the
    file, else they are "0".."C−1", all of which must occur. A client may lack samples of some classes: class names in
    the file or folder are matched to those of the federation. In a folder with parts the training part is read, with a
    note. Raises UsageError for anything but a data set, and where class names or image shapes contradict `schema` or
    `classes`.
    """
    reading = reading_of_fields(schema, reading)
    place = _existing_place(path, reading)
    files = place.training()
    if place.parts:
        note(f"of {path}, the training part is read: {place.names(files)}")
        place.tell_unread("validation", "test")
    if reading.image_columns:
        return require_more(load_field_rows(files, str(path), reading, schema), str(path))
    if of_vectors(schema) if schema else are_vectors(files, reading):
        return load_vectors(files, str(path), reading, schema, classes)
    if are_tables(files, reading, schema):
        return require_more(load_rows(files, str(path), reading, schema), str(path))
    return _client_data(_read(files, place, reading), schema.classes if schema else classes, reading, schema)


def load_test(path: str | Path, schema: Schema, reading: ReadingConfig = READING) -> Dataset:
    """Labelled test images for a model of `schema`, resized to its image size, and grey where the model is.

    In a folder with parts the test part is read. Class names are matched to those of the schema. Another image size in
    `reading` is ignored with a note. Raises UsageError as `load_file` does.
    """
    reading = reading_of_fields(schema, reading)
    if reading.image_columns:
        files = _test_files(_existing_place(path, reading), path)
        return load_field_rows(files, str(path), reading.model_copy(update={"channels": "grey"}), schema)
    if is_tabular(schema):
        return load_rows(_test_files(_existing_place(path, reading), path), str(path), reading, schema)
    if of_vectors(schema):
        return load_vectors(_test_files(_existing_place(path, reading), path), str(path), reading, schema)
    _, height, width = schema.shape
    if reading.image_size and (height, width) != (reading.image_size, reading.image_size):
        note(f"{path} is read as the model takes it, {height}×{width} pixels: not by --image-size {reading.image_size}")
    reading = reading.model_copy(update={"image_size": height if height == width else 0})
    if schema.shape[0] == 1 and reading.channels == "auto":  # as in a prediction
        reading = reading.model_copy(update={"channels": "grey"})
    return _client_data(_test_rows(path, reading), schema.classes, reading, schema)


def check_test(path: str | Path, reading: ReadingConfig = READING) -> None:
    """Raise UsageError unless `load_test` finds labelled images, none of which is decoded, or a table."""
    place = _existing_place(path, reading)
    files = _test_files(place, path)
    if not (reading.image_columns or is_table(files[0], reading) or are_vectors(files, reading)):
        _read(files, place, reading)


def _test_rows(path: str | Path, reading: ReadingConfig) -> Rows:
    place = _existing_place(path, reading)
    return _read(_test_files(place, path), place, reading)


def _test_files(place: Place, path: str | Path) -> list[Path]:
    """The files of the test part, else of the validation part, else of all data, with a note."""
    files = place.testing()
    if not files:
        files = place.training()
        if place.parts:
            note(f"{path} has no test part: the training part is measured on: {place.names(files)}")
    return files


def _read(files: Sequence[Path], place: Place, reading: ReadingConfig) -> Rows:
    """The rows of the table files of one data set, or of an image folder."""
    rows = join([_read_file(file, reading) for file in files], str(place.path))
    if place.path.is_dir() and all(file.suffix.lower() in CSV_SUFFIXES for file in files):
        place.tell_unlisted(files, rows)
    return rows


def _read_file(file: Path, reading: ReadingConfig) -> Rows:
    if file.is_dir():
        return read_folder(file, reading)
    return read_csv(file, reading) if file.suffix.lower() in CSV_SUFFIXES else read_parquet(file, reading)


def _own_place(name: str, reading: ReadingConfig) -> Place | None:
    """The data at a path; None for a data set that is built in or on the hub."""
    return None if name in EMBEDDED or name.startswith("hub:") else locate(at_home(name), reading)


def _rows(name: str, place: Place | None, reading: ReadingConfig) -> tuple[Rows, Rows | None]:
    """The training and, if the source has them, the test rows of a data set by name, or at its place."""
    if name in EMBEDDED:
        return digits(), None
    if name.startswith("hub:"):
        return read_hub(name.removeprefix("hub:"), reading)
    if place is not None:
        train = place.training()
        test = place.testing()
        if "test" in place.parts:
            place.tell_unread("validation")
        if place.parts and not test:
            note(f"{name} has a training part alone: a fifth of it is set aside for testing")
        return _read(train, place, reading), _read(test, place, reading) if test else None
    if not is_lost_path(name) and HUB_NAME.fullmatch(name):
        return read_hub(name, reading)
    raise no_source(name)


def _client_data(
    rows: Rows, classes: int | Sequence[str] | None, reading: ReadingConfig, schema: Schema | None
) -> Dataset:
    """One client's images; `classes`: the federation's class names, or how many there are."""
    labels, names = in_classes(rows.to_labels(), classes, rows.place, rows.source)
    return _image_data(replace(rows, labels=labels, names=names), names, reading, schema)


def _image_data(rows: Rows, names: tuple[str, ...], reading: ReadingConfig, schema: Schema | None = None) -> Dataset:
    if len(names) < 2:
        raise UsageError(f"{rows.source} shows one class only: give the number of all classes, or their names")
    form = picture_form(reading, schema)
    decoded = decode(rows.pictures, rows.source, form, skip_broken=reading.skip_broken)
    if schema is None:
        channels, height, width = decoded.images.shape[1:]
        schema = image_schema((channels, height, width), names, form.fit)
    _check_shape(decoded.images, schema.shape, rows.source)
    return image_dataset(decoded.images, torch.tensor(rows.labels)[decoded.rows], schema)


def _check_shape(images: Tensor, shape: tuple[int, ...], source: str) -> None:
    if tuple(images.shape[1:]) != shape:
        actual, expected = ("×".join(map(str, s)) for s in (images.shape[1:], shape))
        way_out = "resize with --image-size N (data.image_size)" if shape[1] == shape[2] else "resize them yourself"
        raise UsageError(f"the images of {source} are {actual}, not {expected}: {way_out}")


def _subsets(splits: Splits, config: DataConfig, seed: int) -> Splits:
    """The random subsets of a data set that the configuration asks for."""
    train = _chosen(len(splits.train), config.max_train, Stream(seed, "subset-train"))
    test = _chosen(len(splits.test), config.max_test, Stream(seed, "subset-test"))
    column = splits.column if splits.column is None or train is None else splits.column[train]
    return Splits(splits.name, _subset(splits.train, train), _subset(splits.test, test), column)


def _subset(data: Dataset, rows: Indices | None) -> Dataset:
    return data if rows is None else data.subset(rows)


def _chosen(n: int, most: int, stream: Stream) -> Indices | None:
    """At most `most` of n samples at random, in their order; None for all, as where `most` is 0."""
    if not 0 < most < n:
        return None
    return np.sort(stream.numpy().choice(n, most, replace=False))


def _existing_place(path: str | Path, reading: ReadingConfig) -> Place:
    place = locate(existing(path), reading)
    assert place is not None
    return place
