"""Samples of several fields on the command line: schemas, splits, exports and predictions."""

import json
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import torch
from torch import Tensor

from command import fails, mosaic
from field_cases import OUTCOMES, parquet, patients
from image_files import grey, png
from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.export import save_parquet
from mosaic_fl.data.fields.schema_toml import read_label_column, schema_of_toml, schema_toml
from mosaic_fl.data.schema_file import load_own, read_schema
from mosaic_fl.data.sources import load_file
from mosaic_fl.deploy.prepare import check_data
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Table
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.assessment import Assessor
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.runs.any_predicting import predict_any
from test_field_reading import SCHEMA, VIEWS, as_expected
from views import FEW

pytestmark = pytest.mark.filterwarnings("ignore::mosaic_fl.notes.Note")
IMAGES = ["--image-column", "xray", "--image-column", "photo"]


def drafted(folder: Path, *words: str) -> Path:
    """The schema of the patients in a folder."""
    patients(folder)
    mosaic("schema", "patients.csv", "--label-column", "outcome", *words, "--out", "s.toml", cwd=folder)
    return folder / "s.toml"


class TestSchema:
    def test_the_command_drafts_the_fields(self, tmp_path: Path) -> None:
        schema = read_schema(drafted(tmp_path, *IMAGES))
        assert schema.classes == OUTCOMES
        assert list(schema.fields) == ["photo", "table", "xray"]
        assert schema.fields["xray"] == Image((1, 4, 4))
        assert schema.fields["photo"] == Image((3, 4, 4))
        table = schema.fields["table"]
        assert isinstance(table, Table)
        assert [(column.name, column.type, column.missing) for column in table.columns] == [
            ("age", "whole", False), ("ward", "category", False)
        ]  # fmt: skip
        assert table.label == "outcome"

    def test_options_say_the_form_of_pictures(self, tmp_path: Path) -> None:
        fields = read_schema(
            drafted(tmp_path, "--image-column", "xray", "--image-size", "8", "--fit", "crop", "--ignore", "photo")
        ).fields
        assert fields["xray"] == Image((1, 8, 8), "crop")
        assert list(fields) == ["table", "xray"]

    @pytest.mark.parametrize("schema", [SCHEMA, VIEWS], ids=["fields", "views"])
    def test_what_is_written_is_read(self, tmp_path: Path, schema: Schema) -> None:
        file = tmp_path / "s.toml"
        file.write_text(schema_toml(schema, ["id"], "outcome"))
        assert read_schema(file) == schema
        assert list(read_schema(file).fields) == list(schema.fields)
        assert read_label_column(file) == "outcome"
        assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"image": []}, "has 0 fields"),
            ({"image": [{"name": "a", "channels": 1, "height": 4}]}, r"is no \[\[image\]\]"),
            ({"image": [{"name": "a", "channels": True, "height": 4, "width": 4}]}, "none of 8 bits"),
            ({"image": [{"name": "a", "channels": 1, "height": 10**9, "width": 4}]}, "out of bounds"),
            ({"image": [{"name": "a", "channels": 1, "height": 4, "width": 4, "depth": 2}]}, "image 'a' has 'depth'"),
            ({"image": [{"name": "a", "channels": 1, "height": 4, "width": 4}] * 2}, "image 'a' is there twice"),
            ({"image": 3}, "is no schema"),
            ({"colour": 1}, "it has 'colour', which a schema of fields does not have"),
            ({"kind": "table"}, "it has 'image', which a schema of tables does not have"),
            ({"column": [{"name": "x", "type": "boolean"}], "image": [
                {"name": "table", "channels": 1, "height": 4, "width": 4}]}, "name it anew"),
        ],
    )  # fmt: skip
    def test_what_is_no_schema_of_fields(self, change: dict[str, Any], message: str) -> None:
        image = {"name": "xray", "channels": 1, "height": 4, "width": 4}
        content = {
            "kind": "fields",
            "label": {"column": "y", "classes": ["a", "b"]},
            "image": [image, {**image, "name": "photo"}],
        }
        assert list(schema_of_toml(content).fields) == ["photo", "xray"]
        with pytest.raises(UsageError, match=message):
            schema_of_toml({**content, **change})

    def test_names_that_would_hide_each_other_in_a_file_are_refused(self) -> None:
        with pytest.raises(UsageError, match="'xray' and 'xray[?]'"):
            Schema({"xray": Image((1, 4, 4)), "xray?": Image((1, 4, 4))}, OUTCOMES)

    def test_data_are_held_against_it(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = drafted(tmp_path, *IMAGES)
        out = mosaic("schema", "patients.csv", "--check", file, cwd=tmp_path)
        assert "differs: 8 of 40 rows have no 'xray'" in out
        assert "differs: 8 of 40 rows have no 'table'" in out
        assert "can be used with" in out
        other = patients(tmp_path, name="other.csv", without=("photo",))
        assert "no row has the field 'photo': other sites may have it" in mosaic(
            "schema", other, "--check", file, cwd=tmp_path
        )
        (tmp_path / "pictures/x1.png").write_bytes(b"no picture")
        (tmp_path / "pictures/x2.png").unlink()
        assert "1 of 6 differences are in the way" in fails(capsys, "schema", str(other), "--check", str(file))
        out = mosaic("schema", "other.csv", "--check", file, "--skip-broken", cwd=tmp_path)
        assert "2 of 32 images in column 'xray' cannot be read, the first:" in out

    def test_a_column_of_pictures_called_as_the_field_of_the_others_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = patients(tmp_path)
        path.write_text(path.read_text().replace("xray", "table", 1))
        words = ("schema", str(path), "--label-column", "outcome", "--image-column", "table")
        assert "table is the field of the other columns: name that column of pictures anew" in fails(capsys, *words)

    def test_wrong_words(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = patients(tmp_path)
        words = ("schema", str(path), "--label-column", "outcome")
        assert "unknown column 'mri'" in fails(capsys, *words, "--image-column", "mri")
        assert "cannot be both an image and the label" in fails(capsys, *words, "--image-column", "outcome")
        path.write_text("xray,photo,outcome\n" + "?,,ill\n,?,well\n" * 9)
        assert "column 'xray' of" in fails(capsys, *words, "--image-column", "xray", "--image-column", "photo")


class TestExport:
    def test_an_export_is_read_back(self, tmp_path: Path) -> None:
        data = load_file(patients(tmp_path), ReadingConfig(), SCHEMA)
        save_parquet(data, tmp_path / "all.parquet")
        assert as_expected(load_file(tmp_path / "all.parquet", ReadingConfig(), SCHEMA))

    def test_the_command_exports_clients_with_some_fields(self, tmp_path: Path) -> None:
        file = drafted(tmp_path, *IMAGES)
        words = ["--schema", file, "--client-fields", "xray+table,photo", "--split", "iid", "--clients", "2"]
        parquet(tmp_path / "p.parquet")
        mosaic("data", "--data", "p.parquet", *words, "--export", "sites", cwd=tmp_path)
        sites = tmp_path / "sites"
        first, second = (
            load_own(sites / f"client-00{k}.parquet", ReadingConfig(), None, sites / "schema.toml") for k in (0, 1)
        )
        assert first.samples.fields == ("table", "xray")
        assert second.samples.fields == ("photo",)
        assert first.schema == second.schema == read_schema(file)
        assert len(first) + len(second) == 32

    def test_views_have_their_column_of_labels_in_the_schema(self, tmp_path: Path) -> None:
        parquet(tmp_path / "p.parquet")
        words = ["--label-column", "outcome", *IMAGES, "--ignore", "age,ward", "--split", "iid", "--clients", "2"]
        mosaic("data", "--data", "p.parquet", *words, "--export", "sites", cwd=tmp_path)
        sites = tmp_path / "sites"
        data = load_own(sites / "test.parquet", ReadingConfig(), None, sites / "schema.toml")
        assert list(data.schema.fields) == ["photo", "xray"]
        assert len(data) == 8


class Fake:
    """A model that says of each row which fields it has: 0.9 for the second class where it has an x-ray."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.asked: list[Samples] = []

    def assessor(self) -> Assessor:
        return Assessor(self, None)

    def log_probabilities(self, samples: Samples, device: object) -> Tensor:
        self.asked.append(samples)
        return torch.where(samples.having("xray")[:, None], torch.tensor([0.1, 0.9]), torch.tensor([0.8, 0.2])).log()


def predicted(path: Path, schema: Schema = SCHEMA) -> tuple[list[float], list[str], Fake]:
    """The probability of the second class of each row (0 where there is an error), the errors, and the model."""
    model = Fake(schema)
    outcome = predict_any(cast("GlobalModel", model), path, ReadingConfig(), torch.device("cpu"))
    predictions = list(outcome.predictions)
    assert [prediction.image for prediction in predictions] == list(range(outcome.total))
    second = [round(prediction.probabilities[1], 3) if prediction.probabilities else 0.0 for prediction in predictions]
    return second, [prediction.error for prediction in predictions], model


class TestPredict:
    def test_each_row_is_predicted_from_what_it_has(self, tmp_path: Path) -> None:
        second, errors, model = predicted(patients(tmp_path, without=("outcome",)))
        assert second == [0.2 if i % 5 == 0 else 0.9 for i in range(40)]
        assert not any(errors)
        (samples,) = model.asked
        assert as_expected(Dataset(samples, torch.arange(40) % 2, SCHEMA))

    def test_a_file_may_lack_fields(self, tmp_path: Path) -> None:
        second, errors, model = predicted(patients(tmp_path, without=("xray", "age", "ward", "outcome")))
        assert second == [0.2] * 40
        assert not any(errors)
        assert model.asked[0].fields == ("photo",)

    def test_rows_that_cannot_be_read_have_their_error(self, tmp_path: Path) -> None:
        path = patients(tmp_path, without=("photo", "id", "outcome"))
        (tmp_path / "pictures/x1.png").write_bytes(b"no picture")
        (tmp_path / "pictures/x2.png").unlink()
        lines = path.read_text().splitlines()
        lines[4] = "pictures/x3.png,old,a"
        lines[7] = ",,"
        path.write_text("\n".join(lines) + "\n")
        second, errors, _ = predicted(path)
        assert [row for row, error in enumerate(errors) if error] == [1, 2, 3, 6]
        assert "no image" in errors[1]
        assert "cannot be read" in errors[2]
        assert "'old' in column 'age'" in errors[3]
        assert "none of the fields photo, table, xray" in errors[6]
        assert second[4] == 0.9

    def test_a_coloured_picture_becomes_grey_and_the_size_of_the_field(self, tmp_path: Path) -> None:
        path = patients(tmp_path, 4)
        (tmp_path / "pictures/x1.png").write_bytes(png(grey(1, 8, 8)))
        path.write_text(path.read_text().replace("pictures/x2.png", "pictures/p2.png"))
        _, errors, model = predicted(path)
        assert not any(errors)
        assert model.asked[0].values["xray"].shape == (4, 1, 4, 4)

    def test_columns_of_images_that_are_no_fields_of_the_model_are_refused(self, tmp_path: Path) -> None:
        rows = Schema({"table": SCHEMA.fields["table"]}, OUTCOMES)
        reading = ReadingConfig(image_columns=("xray", "photo"))
        with pytest.raises(UsageError, match="the schema says rows of 2 columns, 2 classes: leave out --image-column"):
            predict_any(cast("GlobalModel", Fake(rows)), patients(tmp_path), reading, torch.device("cpu"))

    def test_a_file_without_any_field_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("name,size\nx,1\n")
        with pytest.raises(UsageError, match="has none of the model's fields: it has name, size"):
            predicted(tmp_path / "a.csv")


def test_a_deployed_site_s_data_are_checked_by_its_schema_of_fields(tmp_path: Path) -> None:
    drafted(tmp_path, *IMAGES)
    patients(tmp_path, name="site.csv", without=("photo",))
    head = 'client = 0\ndata = "site.csv"\nfolder = "site"\nschema_file = "s.toml"\n'
    end = '[server]\naddress = "localhost:9000"\n'
    file = tmp_path / "client.toml"
    file.write_text(f'{head}model = "fusion:8"\n{end}')
    check_data(load_site(file))
    file.write_text(f'{head}model = "fusion:8"\nimage_columns = ["mri"]\n{end}')
    with pytest.raises(UsageError, match="the schema has the image columns photo, xray: leave out --image-column mri"):
        check_data(load_site(file))


def test_sites_with_some_fields_make_one_model_that_predicts_from_any(tmp_path: Path) -> None:
    """The real commands on files: a site with all, one without x-rays, and one of which x-rays alone are left."""
    quick = [part for name, value in FEW.items() for part in ("--set", f"{name}={value}")]
    drafted(tmp_path, *IMAGES)
    sites = {"fusion:4": (), "fusion:8": ("xray",), "cnn:4": ("photo", "age", "ward")}
    files = []
    for client, (model, without) in enumerate(sites.items()):
        path = patients(tmp_path, name=f"{client}.csv", without=without)
        words = ["--data", path.name, "--schema", "s.toml", "--model", model, "--client", str(client), *quick]
        mosaic("contribute", *words, "--out", f"{client}.contribution", cwd=tmp_path)
        files.append(f"{client}.contribution")
    assert Contribution.load(tmp_path / files[1]).fields == ("photo", "table")
    assert Contribution.load(tmp_path / files[2]).fields == ("xray",)
    mosaic("distill", *files, "--test", "0.csv", "--out", "global", *quick, cwd=tmp_path)
    for client in (0, 1, 2):
        words = ["--data", f"{client}.csv", "--out", f"{client}.jsonl", "--probabilities"]
        mosaic("predict", "global", *words, cwd=tmp_path)
        rows = [json.loads(line) for line in (tmp_path / f"{client}.jsonl").read_text().splitlines()]
        assert [row["row"] for row in rows] == list(range(40))
        bare = [row["row"] for row in rows if "error" in row]
        assert bare == ([row for row in range(40) if row % 5 == 0] if client == 2 else [])
        assert all(
            abs(row["probability:ill"] + row["probability:well"] - 1) < 1e-5 for row in rows if "error" not in row
        )
    model = GlobalModel.load(tmp_path / "global")
    frame = pd.read_csv(tmp_path / "1.csv")
    frame["photo"] = [str(tmp_path / path) for path in frame.photo]
    assert model.predict_proba(frame)[7, 1].item() == pytest.approx(
        json.loads((tmp_path / "1.jsonl").read_text().splitlines()[7])["probability:well"], abs=1e-5
    )
