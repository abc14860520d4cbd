"""Samples of several fields from files and from memory: what each row has, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mosaic_fl
from field_cases import OUTCOMES, coloured, parquet, patients
from image_files import grey, png
from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.memory import samples_in
from mosaic_fl.data.schema_file import load_own
from mosaic_fl.data.sources import load, load_file, load_test
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note

pytestmark = pytest.mark.filterwarnings("ignore::mosaic_fl.notes.Note")
AGE = Column("age", "whole", low=20, high=60, knots=(20, 40, 60))
WARD = Column("ward", "category", categories=("a", "b"))
SCHEMA = Schema({"xray": Image((1, 4, 4)), "photo": Image((3, 4, 4)), "table": Table((AGE, WARD), "outcome")}, OUTCOMES)
VIEWS = Schema({"xray": Image((1, 4, 4)), "photo": Image((3, 4, 4))}, OUTCOMES)
COLUMNS = ("xray", "photo")


def own(path: Path, schema: Schema = SCHEMA, **settings: Any) -> Dataset:
    return load_file(path, ReadingConfig(**settings), schema)


def as_expected(data: Dataset, count: int = 40) -> bool:
    """Whether these are the patients of `field_cases`, with what each of them has."""
    numbers = torch.arange(count)
    samples = data.samples
    assert samples.having("xray").tolist() == (numbers % 5 != 0).tolist()
    assert samples.having("table").tolist() == (numbers % 5 != 1).tolist()
    assert samples.having("photo").all()
    has = samples.having("xray")
    assert samples.values["xray"][:, 0, 0, 0].tolist() == (numbers * has).tolist()
    assert samples.values["photo"][:, 0, 0, 0].tolist() == (100 + numbers).tolist()
    rows = samples.values["table"][samples.having("table")]
    assert rows[:, 0].tolist() == (20 + numbers)[numbers % 5 != 1].tolist()
    assert rows[:, 1].tolist() == (numbers // 2 % 2)[numbers % 5 != 1].tolist()
    return data.labels.tolist() == (numbers % 2).tolist()


def test_files_and_frames_are_read_alike(tmp_path: Path) -> None:
    path = patients(tmp_path)
    assert as_expected(own(path))
    assert as_expected(load_test(path, SCHEMA))
    assert as_expected(own(parquet(tmp_path / "p.parquet")))
    frame = pd.read_csv(path)
    assert as_expected(mosaic_fl.from_table(frame, "outcome", SCHEMA, folder=tmp_path))
    rest = frame.drop(columns="outcome")
    assert as_expected(mosaic_fl.from_table(rest, frame.outcome, SCHEMA, images=COLUMNS, folder=tmp_path))
    assert as_expected(mosaic_fl.from_table(dict(frame), "outcome", SCHEMA, folder=tmp_path))


def test_pictures_in_memory_have_many_forms(tmp_path: Path) -> None:
    from PIL import Image as Pictures

    (tmp_path / "x.png").write_bytes(png(grey(7)))
    cells = [
        tmp_path / "x.png", "x.png", png(grey(7)), {"bytes": png(grey(7)), "path": None}, grey(7),
        Pictures.fromarray(grey(7)), torch.tensor(grey(7)), None, float("nan"), "",
    ]  # fmt: skip
    rows = {"xray": cells, "photo": [coloured(9)] * 10}
    data = mosaic_fl.from_table(rows, ["ill", "well"] * 5, VIEWS, folder=tmp_path)
    assert data.samples.having("xray").tolist() == [True] * 7 + [False] * 3
    assert data.samples.values["xray"][:7].unique().tolist() == [7]
    rows["xray"] = [*cells[:9], np.zeros((4, 4))]
    with pytest.raises(UsageError, match=r"row 9 in column 'xray' is float64 \(4, 4\): give a path, bytes"):
        mosaic_fl.from_table(rows, ["ill", "well"] * 5, VIEWS, folder=tmp_path)


def test_a_site_that_lacks_a_field_has_it_in_no_row(tmp_path: Path) -> None:
    path = patients(tmp_path, without=("xray",))
    with pytest.warns(Note, match="no row of .* has the field 'xray'"):
        data = own(path)
    assert data.samples.fields == ("photo", "table")
    assert data.samples.values["xray"].count_nonzero() == 0
    assert data.schema == SCHEMA
    tableless = own(patients(tmp_path, name="t.csv", without=("age", "ward")))
    assert tableless.samples.fields == ("photo", "xray")
    assert len(tableless) == 40


def test_a_table_of_which_a_column_lacks_is_no_site_without_a_table(tmp_path: Path) -> None:
    path = patients(tmp_path, without=("ward",))
    with pytest.raises(UsageError, match="has no column 'ward'"):
        own(path)


def test_a_row_without_any_field_is_left_out(tmp_path: Path) -> None:
    path = patients(tmp_path, without=("photo",))
    path.write_text(path.read_text() + "patient 40,,,,ill\n")
    with pytest.warns(Note, match="1 of the 41 rows of .* have no field at all: left out"):
        assert len(own(path)) == 40
    bare = tmp_path / "bare.csv"
    bare.write_text("id,outcome\n1,ill\n2,well\n")
    with pytest.raises(UsageError, match="no row of .* has any of the fields photo, table, xray"):
        own(bare)


def test_a_column_under_another_name_is_told(tmp_path: Path) -> None:
    path = patients(tmp_path)
    path.write_text(path.read_text().replace("xray", "Xray", 1))
    with pytest.warns(Note, match=r"has the field 'xray' \(did you mean the column Xray\?\)"):
        assert own(path).samples.fields == ("photo", "table")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pictures/x1.png", "pictures/lost.png", "1 file of column 'xray' of .* does not exist, the first in line 3"),
        ("pictures/x1.png", "patients.csv", "is no image"),
        ("pictures/x1.png", "pictures", "does not exist"),
        ("pictures/x1.png", "pictures/p1.png", "is coloured .* --channels grey makes it grey"),
        (",22,", ",old,", "line 4 .* has 'old' in column 'age'"),
        (",22,", ",,", "line 4 .* has no value in column 'age'"),
        ("a,ill", "a,sick", "class sick of .* is none of the classes"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = patients(tmp_path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=message):
        own(path)


def test_a_broken_picture_may_be_left_out_of_its_row(tmp_path: Path) -> None:
    path = patients(tmp_path)
    (tmp_path / "pictures/x1.png").write_bytes(b"no picture")
    (tmp_path / "pictures/x2.png").unlink()
    data = own(path, skip_broken=True)
    assert len(data) == 40
    assert data.samples.having("xray")[:4].tolist() == [False, False, False, True]


def test_a_picture_beside_the_folder_is_read_as_from_a_list(tmp_path: Path) -> None:
    patients(tmp_path)
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists/p.csv"
    path.write_text((tmp_path / "patients.csv").read_text().replace("pictures/", "../pictures/"))
    assert as_expected(own(path))


def test_pictures_are_brought_to_the_schema_s_size(tmp_path: Path) -> None:
    path = patients(tmp_path)
    oblong = Schema({**SCHEMA.fields, "xray": Image((1, 4, 8))}, OUTCOMES)
    with pytest.raises(UsageError, match="in column 'xray' are 1×4×4, and the schema says 1×4×8: resize them yourself"):
        own(path, oblong)
    (tmp_path / "pictures/x1.png").write_bytes(png(grey(1, 8, 8)))
    assert as_expected(own(path))


def test_options_that_contradict_the_schema_are_refused(tmp_path: Path) -> None:
    from mosaic_fl.data.fields.schema_toml import schema_toml

    path = patients(tmp_path)
    file = tmp_path / "s.toml"
    file.write_text(schema_toml(SCHEMA))
    assert as_expected(load_own(path, ReadingConfig(), None, file))
    for settings, message in [
        ({"image_size": 8}, "says of the field 'photo' 4×4 pixels, not 8×8"),
        ({"channels": "colour"}, "says of the field 'xray' 1 channel"),
        ({"fit": "crop"}, "images fitted by pad, not by crop"),
        ({"image_columns": ("xray", "mri")}, "leave out --image-column mri"),
        ({"image_column": "mri"}, "leave out --image-column mri"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_own(path, ReadingConfig.model_validate(settings), None, file)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(grey(1)))
    with pytest.raises(UsageError, match="is no table"):
        own(tmp_path / "a.png")
    with pytest.raises(UsageError, match="is no table with the image columns xray, photo"):
        load(DataConfig(image_columns=COLUMNS), 0)


def test_parquet_columns_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame({"xray": [1.5, 2.5], "photo": ["", ""], "outcome": OUTCOMES})
    frame.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(UsageError, match="column 'xray' of .* is double, not pictures"):
        own(tmp_path / "p.parquet")


def test_a_run_drafts_the_schema_from_its_training_rows(tmp_path: Path) -> None:
    path = patients(tmp_path)
    config = DataConfig(name=str(path), label_column="outcome", image_columns=COLUMNS, least_rows=1)
    splits = load(config, 0)
    assert list(splits.train.schema.fields) == ["photo", "table", "xray"]
    assert splits.train.schema.fields["photo"] == Image((3, 4, 4))
    assert (len(splits.train), len(splits.test)) == (32, 8)
    assert splits.train.samples.fields == ("photo", "table", "xray")
    reds = torch.cat([part.samples.values["photo"][:, 0, 0, 0] for part in (splits.train, splits.test)])
    assert sorted(reds.tolist()) == list(range(100, 140))
    with pytest.raises(UsageError, match="unknown column 'mri'"):
        load(config.model_copy(update={"image_columns": ("xray", "mri")}), 0)


def test_several_image_columns_alone_are_views(tmp_path: Path) -> None:
    path = patients(tmp_path, without=("age", "ward"))
    splits = load(DataConfig(name=str(path), label_column="outcome", image_columns=COLUMNS), 0)
    assert list(splits.train.schema.fields) == ["photo", "xray"]
    assert splits.train.samples.having("photo").all()


def test_one_image_column_alone_is_no_sample_of_several_fields(tmp_path: Path) -> None:
    path = patients(tmp_path, without=("age", "ward", "xray"))
    with pytest.raises(UsageError, match="has photo alone to learn from"):
        load(DataConfig(name=str(path), label_column="outcome", image_columns=("photo",)), 0)


def test_parts_are_found_by_their_names_and_a_column_divides(tmp_path: Path) -> None:
    patients(tmp_path, name="train.csv")
    patients(tmp_path, 10, name="test.csv")
    config = DataConfig(name=str(tmp_path), label_column="outcome", image_columns=COLUMNS, split_column="age")
    splits = load(config, 0)
    assert (len(splits.train), len(splits.test)) == (40, 10)
    assert splits.column is not None
    assert np.isnan(splits.column).sum() == 8
    with pytest.raises(UsageError, match="column 'xray' has pictures"):
        load(config.model_copy(update={"split_column": "xray"}), 0)


def test_from_memory_a_schema_is_drafted(tmp_path: Path) -> None:
    frame = pd.read_csv(patients(tmp_path))
    data = mosaic_fl.from_table(frame, "outcome", images=["xray"], ignore=["photo", "id"], folder=tmp_path)
    assert list(data.schema.fields) == ["table", "xray"]
    assert len(data) == 40
    larger = mosaic_fl.from_table(
        frame, "outcome", images=COLUMNS, folder=tmp_path, image_size=8, ignore=["id", "age", "ward"]
    )
    assert larger.schema.fields == {"xray": Image((1, 8, 8)), "photo": Image((3, 8, 8))}
    with pytest.raises(UsageError, match="images names 'mri', and the columns are"):
        mosaic_fl.from_table(frame, "outcome", images=["mri"], folder=tmp_path)


def test_rows_in_memory_for_a_model_may_lack_fields(tmp_path: Path) -> None:
    samples = samples_in({"age": [30, 40], "ward": ["a", "b"]}, SCHEMA)
    assert samples.fields == ("table",)
    assert len(samples) == 2
    assert samples_in({"photo": [coloured(3)]}, SCHEMA).fields == ("photo",)
    with pytest.raises(UsageError, match="row 1 of the table has none of the fields"):
        samples_in({"age": [30, None], "ward": ["a", None]}, SCHEMA)


def test_a_row_of_a_part_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    """Rows set aside for the test, and empty ones, do not shift the numbers of the others."""
    path = parquet(tmp_path / "p.parquet")
    table = pd.read_parquet(path)
    table.loc[39, "photo"] = b"no picture"
    table.to_parquet(path)
    config = DataConfig(name=str(path), label_column="outcome", image_columns=COLUMNS)
    with pytest.raises(UsageError, match="row 39 of .*p.parquet, column 'photo', is no image"):
        load(config, 0)
    table.loc[39, "age"] = -1e35
    table.loc[38] = None
    table[["age", "ward", "outcome"]].to_parquet(path)
    rows = Schema({"table": Table((replace(AGE, missing=True), replace(WARD, missing=True)), "outcome")}, OUTCOMES)
    with pytest.raises(UsageError, match="row 39 of .* has .* in column 'age'"):
        own(path, rows)


def test_a_column_with_a_name_without_end_is_named_in_short(tmp_path: Path) -> None:
    path = patients(tmp_path)
    header = path.read_text()
    for name in ("a" * 100_000, "9" * 100_000, "a" * 50_000 + "," + "a" * 50_000):
        path.write_text(header.replace("outcome", name).replace(",ill", ",ill" + ",x" * ("," in name)))
        with pytest.raises(UsageError) as error:
            own(path)
        assert len(str(error.value)) < 1000
    path.write_text(header.replace("outcome", "a" * 200_000))
    with pytest.raises(UsageError, match="the header line of .* is no line of a table: field larger"):
        own(path)
