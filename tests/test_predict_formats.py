"""How predictions are written, and what is wrong before any work."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from command import fails
from mosaic_fl.cli.main import main
from mosaic_fl.errors import UsageError
from mosaic_fl.runs.answering import Answer
from mosaic_fl.runs.predicting import Prediction
from mosaic_fl.runs.prediction_files import Table, choose_format
from prediction_cases import (
    BLACK,
    BROKEN,
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


def read_back(path: str) -> list[dict[str, Any]]:
    if path.endswith(".parquet"):
        return pq.read_table(path).to_pylist()
    text = Path(path).read_text()
    return (
        list(csv.DictReader(io.StringIO(text))) if path.endswith(".csv") else [json.loads(x) for x in text.splitlines()]
    )


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("p.csv", []), ("p.CSV", []), ("p.jsonl", []), ("p.json", []), ("p.parquet", []), ("p", []),
        ("p", ["--format", "csv"]), ("p.json", ["--format", "parquet"]),
    ],
)  # fmt: skip
def test_every_format_holds_the_same(out: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BLACK, b_png=BROKEN)
    expected = rows(capsys, "--probabilities")
    shown, _ = predict(capsys, "--probabilities", "--out", out, *words)
    assert shown == ""
    kind = words[1] if words else choose_format(None, Path(out).suffix)
    Path(out).rename(f"q.{kind}")
    found = read_back(f"q.{kind}")
    if kind != "jsonl":
        columns = ["image", "file", "class", "name", "probability", *(f"probability:{n}" for n in NAMES), "error"]
        assert list(found[0]) == columns
        expected = [{column: row.get(column) for column in columns} for row in expected]
    if kind == "csv":
        expected = [{k: "" if v is None else str(v) for k, v in row.items()} for row in expected]
    assert found == expected


def test_csv_on_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BLACK)
    out, _ = predict(capsys, "--format", "csv")
    assert out.splitlines() == ["image,file,class,name,probability,error", "0,a.png,0,dark,0.665241,"]


NASTY = ["comma, quote\" and 'quote.png", "line\nfeed.png", "return\rfeed.png", "=1+1.png", "ü.png", "a\\b.png"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_any_name_of_a_file_survives(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures()
    Path("new").mkdir()
    for name in NASTY:
        Path("new", name).write_bytes(BLACK)
    predict(capsys, "--out", f"p.{kind}")
    if kind == "csv":
        with open("p.csv", encoding="utf-8", newline="") as file:
            found = [row["file"] for row in csv.DictReader(file)]
    else:
        found = [row["file"] for row in (
            pq.read_table("p.parquet").to_pylist() if kind == "parquet"
            else map(json.loads, Path("p.jsonl").read_text().splitlines())
        )]  # fmt: skip
    assert sorted(found) == sorted(NASTY)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_name_that_is_no_text_survives(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures()
    Path("new").mkdir()
    Path("new", os.fsdecode(b"caf\xe9.png")).write_bytes(BLACK)
    predict(capsys, "--out", f"p.{kind}")
    if kind == "csv":
        assert b"caf\xe9.png" in Path("p.csv").read_bytes()
    elif kind == "jsonl":
        assert os.fsencode(json.loads(Path("p.jsonl").read_text())["file"]) == b"caf\xe9.png"
    else:
        assert pq.read_table("p.parquet")["file"].to_pylist() == ["caf\\udce9.png"]


def test_a_name_that_is_no_text_survives_a_pipe(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    pictures(x_png=BLACK)
    Path("new/x.png").rename(os.fsdecode(b"new/caf\xe9.png"))
    for words in ([], ["--format", "csv"]):
        with pytest.raises(SystemExit) as ended:
            main(["predict", "m.safetensors", "--data", "new", *words])
        assert ended.value.code == 0
    assert capsysbinary.readouterr().out.splitlines()[-1] == b"0,caf\xe9.png,0,dark,0.665241,"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--format", "xml"], "unknown --format 'xml': known: csv, jsonl, parquet"),
        (["--format", "parquet"], "--format parquet is not for the screen: add --out FILE.parquet"),
        (["--out", "p.xlsx"], "--out ends in '.xlsx': end it in .csv, .jsonl or .parquet, or say --format"),
        (["--out", "new"], "new is a folder: --out names a file"),
        (["--out", "there.csv"], "there.csv exists: add --force"),
        (["--out", "m.safetensors", "--force", "--format", "csv"], "is what this command reads"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--data", "empty"], "empty has neither images"),
        (["--data", "none.csv"], "none.csv has no column file or"),
        (["--data", "header.csv"], "header.csv has no rows"),
        (["--data", "zero.csv"], "zero.csv is neither UTF-8 nor UTF-16"),
        (["--data", "long.csv"], "line 2 of long.csv is no line of a table: field larger than field limit"),
        (["--data", "latin.csv"], "latin.csv is neither UTF-8 nor UTF-16"),
        (["--data", "none.parquet"], "none.parquet has no rows"),
        (["--data", "bad.parquet"], "bad.parquet cannot be read as Parquet"),
        (["--data", "fifo"], "fifo is neither a file nor a folder"),
        (["--device", "tpu"], "device 'tpu' is not available"),
        (["--trust", "no_such_package:x"], "no_such_package"),
    ],
)
def test_what_is_wrong_is_told_before_any_work(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(a_png=BLACK)
    Path("there.csv").write_text("")
    Path("empty").mkdir()
    Path("none.csv").write_text("x,y\n1,2\n")
    Path("header.csv").write_text("file\n")
    Path("zero.csv").write_bytes(b"\0")
    Path("long.csv").write_text(f"file\n{'x' * 200_000}\n")
    Path("latin.csv").write_bytes(b"file\ncaf\xe9.png\n")
    Path("bad.parquet").write_bytes(b"PAR1")
    parquet("none.parquet", [])
    os.mkfifo("fifo")
    before = sorted(os.listdir())
    given = words if "--data" in words else [*words, "--data", "new"]
    assert told in fails(capsys, "predict", "m.safetensors", *given)
    assert sorted(os.listdir()) == before
    assert Path("there.csv").read_text() == ""


def test_the_first_of_equals_is_the_class() -> None:
    table = Table(("a", "b"), ("image", "file", "row"), every=False)
    row = table.row(Prediction(3, "", 7, Answer((0.5, 0.5))))
    assert row == {
        "image": 3, "file": None, "row": 7, "class": 0, "name": "a", "probability": 0.5, "error": None,
    }  # fmt: skip


def test_a_format_that_is_none() -> None:
    with pytest.raises(UsageError, match="did you mean csv"):
        choose_format("cvs", None)
    assert choose_format(None, None) == "jsonl"


def test_where_writing_fails_nothing_is_left(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    pictures(a_png=BLACK, b_png=WHITE)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("mosaic_fl.runs.predicting.images_at_once", interrupted)
    before = sorted(os.listdir())
    _, err = predict(capsys, "--out", "p.csv", code=1)
    assert err == "mosaic: interrupted\n"
    assert sorted(os.listdir()) == before
