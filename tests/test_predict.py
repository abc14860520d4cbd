"""`mosaic predict` on what people have: each situation, the rows that are right, and what is said."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from command import fails
from image_files import grey, png
from prediction_cases import (
    BLACK,
    BRIGHT,
    BROKEN,
    DARK,
    NAMES,
    WHITE,
    brightness,
    parquet,
    pictures,
    predict,
    rows,
)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    brightness().save("m.safetensors")


def test_a_folder_gives_a_row_a_file_with_its_path_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(b_png=WHITE, ward__a_png=BLACK, ward__deep__c_PNG=WHITE, _hidden_png=WHITE)
    assert rows(capsys) == [
        {"image": 0, "file": "b.png", "class": 1, "name": "bright", "probability": 0.665241},
        {"image": 1, "file": "ward/a.png", "class": 0, "name": "dark", "probability": 0.665241},
        {"image": 2, "file": "ward/deep/c.PNG", "class": 1, "name": "bright", "probability": 0.665241},
    ]


def test_one_file_is_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(b_png=WHITE, a_png=BLACK)
    assert [row["file"] for row in rows(capsys, "--data", "new/b.png")] == ["b.png"]


@pytest.mark.parametrize(
    ("columns", "files"),
    [
        ({}, [None, None]),
        ({"paths": ["x.png", None]}, ["x.png", None]),
        ({"filename": ["a", "b"], "paths": ["x.png", None]}, ["a", "b"]),
        ({"path": [3, 4]}, [None, None]),
        ({"file": [None, "b"], "paths": ["x.png", "y.png"]}, ["x.png", "b"]),
    ],
)
def test_a_parquet_file_gives_rows_and_the_names_that_it_has(
    columns: dict[str, list[Any]], files: list[str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(capsys, "--data", parquet("x.parquet", [WHITE, BLACK], **columns))
    assert [(row["row"], row["file"], row["name"]) for row in found] == [(0, files[0], "bright"), (1, files[1], "dark")]


def test_a_folder_of_parquet_files_gives_the_rows_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    Path("new").mkdir()
    parquet("new/b.parquet", [WHITE])
    parquet("new/a.parquet", [BLACK, WHITE])
    found = rows(capsys)
    assert [(row["image"], row["file"], row["row"]) for row in found] == [
        (0, "a.parquet", 0), (1, "a.parquet", 1), (2, "b.parquet", 0),
    ]  # fmt: skip


def test_a_parquet_file_of_plain_bytes_under_another_name(capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"scan": [BLACK, WHITE], "image": ["no", "picture"]}), "x.parquet")
    found = rows(capsys, "--data", "x.parquet", "--image-column", "scan")
    assert [row["name"] for row in found] == ["dark", "bright"]
    assert "column image of x.parquet is string, not images" in fails(
        capsys, "predict", "m.safetensors", "--data", "x.parquet"
    )


@pytest.mark.parametrize(
    ("name", "words"), [("Image", []), ("IMG", []), ("sample.image", ["--image-column", "sample.image"])]
)
def test_the_column_of_images_is_chosen_as_in_training(
    name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In any case, or within a struct of several things."""
    table = pq.read_table(parquet("x.parquet", [BLACK, WHITE], File=["a", "b"], label=[0, 1]))
    image, titles, labels = table["image"].combine_chunks(), table["File"], table["label"].combine_chunks()
    column = pa.StructArray.from_arrays([image, labels], ["image", "label"]) if "." in name else image
    pq.write_table(pa.table({name.partition(".")[0]: column, "File": titles.dictionary_encode()}), "x.parquet")
    found = rows(capsys, "--data", "x.parquet", *words)
    assert [(row["file"], row["name"]) for row in found] == [("a", "dark"), ("b", "bright")]


def test_two_columns_of_images_are_no_choice(capsys: pytest.CaptureFixture[str]) -> None:
    image = pq.read_table(parquet("x.parquet", [BLACK]))["image"]
    pq.write_table(pa.table({"IMAGE": image, "Image": image}), "x.parquet")
    assert "has the columns IMAGE, Image: say which with --image-column" in fails(
        capsys, "predict", "m.safetensors", "--data", "x.parquet"
    )
    pq.write_table(pa.Table.from_arrays([image, image], ["image", "image"]), "x.parquet")
    assert "has 2 columns called image" in fails(capsys, "predict", "m.safetensors", "--data", "x.parquet")


@pytest.mark.parametrize(
    "text", ["file,label\na.png,x\nb/c.png,y\n", "age;filename\n3;a.png\n4;b/c.png\n", "image\na.png\nb/c.png"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_names_its_files(text: str, encoding: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures("new", a_png=BLACK, b__c_png=WHITE)
    Path("new/list.csv").write_text(text, encoding)
    found = rows(capsys, "--data", "new/list.csv")
    assert [(row["file"], row["name"]) for row in found] == [("a.png", "dark"), ("b/c.png", "bright")]
    assert "row" not in found[0]


def test_all_probabilities_have_a_column_each(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BLACK, b_png=WHITE)
    found = rows(capsys, "--probabilities")
    for row, expected in zip(found, (DARK, BRIGHT), strict=True):
        assert [row[f"probability:{name}"] for name in NAMES] == expected


def test_a_class_may_have_the_name_of_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    brightness(names=("error", "file", "probability")).save("m.safetensors", overwrite=True)
    pictures(a_png=BLACK, b_png=BROKEN)
    first, second = rows(capsys, "--probabilities")
    assert first == {
        "image": 0, "file": "a.png", "class": 0, "name": "error", "probability": DARK[0],
        "probability:error": DARK[0], "probability:file": DARK[1], "probability:probability": DARK[2],
    }  # fmt: skip
    assert second["file"] == "b.png"
    assert "b.png is no image" in second["error"]


def test_a_broken_picture_is_a_row_with_its_error_and_not_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BLACK, b_png=BROKEN, c_png=WHITE, d_png=WHITE[:45])
    out, err = predict(capsys)
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["class"] for row in found] == [0, None, 1, None]
    assert [row["probability"] for row in found] == [DARK[0], None, BRIGHT[1], None]
    assert found[1]["error"] == "b.png is no image that is known here (PNG, JPEG, BMP, GIF, TIFF, WEBP, PPM)"
    assert "error" not in found[0]
    assert err.splitlines() == [
        f"mosaic: note: 2 of the 4 images of new could not be read: their rows say why, as {found[1]['error']}"
    ]


def test_how_far_it_is_is_said_every_minute_and_not_among_the_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic_fl.report.heartbeat.INTERVAL", 0.0)
    pictures(a_png=BLACK, b_png=WHITE)
    out, err = predict(capsys)
    assert len(out.splitlines()) == 2
    assert err.splitlines() == [
        "predicting · 1 of 2 · 0:00 elapsed, about 0:00 left", "predicting · 2 of 2 · 0:00 elapsed"
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["list", "parquet"])
def test_a_picture_that_is_missing_is_a_row_with_its_error(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BLACK)
    if where == "list":
        Path("new/x.csv").write_text("file\na.png\nnowhere.png\n\n''\n" + "x" * 300 + "\n")
        found = rows(capsys, "--data", "new/x.csv")
    else:
        found = rows(capsys, "--data", parquet("x.parquet", [BLACK, None, b"", BROKEN]))
    assert [row["class"] for row in found] == [0, None, None, None]
    assert all(row["error"] for row in found[1:])


def test_where_all_are_broken_the_rows_are_there_and_the_end_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BROKEN, b_png=BROKEN)
    out, err = predict(capsys, "--out", "p.csv", code=1)
    assert out == ""
    assert err.startswith("mosaic: none of the 2 images of new could be read: a.png is no image")
    assert [row["file"] for row in csv.DictReader(io.StringIO(Path("p.csv").read_text()))] == ["a.png", "b.png"]


def test_the_folder_of_a_run_is_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BLACK)
    Path("run").mkdir()
    assert "run is a folder without a global_model.safetensors" in fails(capsys, "predict", "run", "--data", "new")
    brightness().save("run/global_model.safetensors")
    assert rows(capsys, "run") == rows(capsys)
    Path("ensemble").mkdir()
    Path("ensemble/result.json").write_text(json.dumps({"method": "fens", "title": "FENS", "student": None}))
    told = fails(capsys, "predict", "ensemble", "--data", "new")
    assert "ensemble holds a run of FENS, which serves its clients' models as an ensemble" in told


def coloured(red: int, green: int, blue: int) -> bytes:
    return png(np.full((4, 4, 3), (red, green, blue), np.uint8))


def test_pictures_become_what_the_model_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """Of any size; a colour becomes grey for a model of grey pictures, and that is told; grey is a colour."""
    pictures(a_png=coloured(255, 255, 255), b_png=coloured(0, 0, 255), c_png=png(grey(255, 9, 9)))
    out, err = predict(capsys)
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["bright", "dark", "bright"]
    assert err == "mosaic: note: 1 of 3 images of new are coloured: made grey\n"
    brightness(channels=3).save("m.safetensors", overwrite=True)
    out, err = predict(capsys)
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["bright", "dark", "bright"]
    assert err == ""


def test_a_model_of_no_squares_takes_its_size_alone(capsys: pytest.CaptureFixture[str]) -> None:
    brightness(side=(4, 6)).save("m.safetensors", overwrite=True)
    pictures(a_png=png(grey(255, 4, 6)), b_png=png(grey(255, 6, 4)))
    first, second = rows(capsys)
    assert first["name"] == "bright"
    assert second["error"] == "b.png has 6×4 pixels, and the model takes 4×6"


def test_a_model_of_other_channels_takes_no_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    brightness(channels=5).save("m.safetensors", overwrite=True)
    pictures(a_png=BLACK)
    assert "5 channels, and image files have 1 or 3" in fails(capsys, "predict", "m.safetensors", "--data", "new")


def test_files_that_are_no_images_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BLACK, b_dcm=b"x", ward__c_txt=b"x")
    out, err = predict(capsys)
    assert len(out.splitlines()) == 1
    assert err == "mosaic: note: files of new that are no images and are not read: b.dcm, ward/c.txt\n"


def test_rows_are_written_while_pictures_are_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 pictures in batches of 4, never more than 4 are decoded and not yet written."""
    from mosaic_fl.runs import predicting

    monkeypatch.setattr(predicting, "images_at_once", lambda device: 4)
    decoded, most = [0], [0]
    read = predicting.read_picture

    def counted(*arguments: Any) -> Any:
        decoded[0] += 1
        return read(*arguments)

    monkeypatch.setattr(predicting, "read_picture", counted)
    from mosaic_fl.config import ReadingConfig
    from mosaic_fl.data.inputs import read_inputs

    pictures(**{f"p{k:02}_png": WHITE if k % 3 else BLACK for k in range(20)})
    model = brightness()
    form = predicting.model_form(model.schema, ReadingConfig())
    inputs = read_inputs(Path("new"), ReadingConfig())
    for written, prediction in enumerate(predicting.predictions(model, inputs, form, "cpu")):
        most[0] = max(most[0], decoded[0] - written)
        assert prediction.probabilities[1] == pytest.approx(BRIGHT[1] if written % 3 else DARK[1], abs=1e-5)
    assert decoded[0] == 20
    assert most[0] == 4


def test_a_tiff_of_16_bits_needs_its_range(capsys: pytest.CaptureFixture[str]) -> None:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), 4095, np.uint16)).save(file, format="TIFF")
    pictures(a_tiff=file.getvalue(), b_png=BLACK)
    assert "more than 8 bits" in rows(capsys)[0]["error"]
    assert [row["name"] for row in rows(capsys, "--pixel-range", "0,4095")] == ["bright", "dark"]
