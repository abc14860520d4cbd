"""What a run shows: tables say what result.json says, and pictures are whole."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from mosaic_fl.errors import MosaicError
from mosaic_fl.report.pictures import accuracy_picture, samples_picture, split_picture
from mosaic_fl.report.tables import accuracy_table, class_table, percent, rows, serves, shorten

RESULT = {
    "method": "mosaic",
    "data": "digits",
    "clients": 2,
    "alpha": 0.1,
    "seed": 0,
    "accuracy": 0.978,
    "teacher_accuracy": 0.964,
    "ensemble_accuracy": 0.644,
    "mean_probability_accuracy": 0.789,
    "class_weighted_accuracy": 0.904,
    "local_accuracy": [0.323, 0.676],
    "models": ["cnn:16", "mlp:64"],
    "student": "cnn:32",
    "samples": [312, 1290],
    "classes_held": [4, 7],
    "centralised_accuracy": 0.9934,
}


def printed(table: Table, width: int = 80) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(table)
    return text.getvalue().splitlines()


def test_rows_come_in_the_order_of_the_method() -> None:
    assert rows(RESULT) == [
        ("client 0 · cnn:16", 0.323),
        ("client 1 · mlp:64", 0.676),
        ("mean-logit ensemble", 0.644),
        ("mean-probability ensemble", 0.789),
        ("class-weighted ensemble", 0.904),
        ("meta-model teacher", 0.964),
        ("distilled student (the one global model)", 0.978),
        ("same student on pooled data (the ceiling)", 0.9934),
    ]


def test_fedavg_has_only_the_rows_it_measured() -> None:
    result = {"method": "fedavg", "accuracy": 0.9, "local_accuracy": [None], "centralised_accuracy": 0.95}
    assert rows({**result, "title": "FedAvg", "models_served": 1}) == [
        ("client 0", None),
        ("FedAvg (the one global model)", 0.9),
        ("one model on pooled data (the ceiling)", 0.95),
    ]
    assert ("fedavg (the one global model)", 0.9) in rows(result)  # written before there were titles


def test_an_ensemble_says_how_many_models_it_serves() -> None:
    result = {**RESULT, "method": "fens", "title": "FENS", "models_served": 2, "student": None}
    result["teacher_accuracy"] = None
    assert [label for label, _ in rows(result) if serves(label)] == ["FENS (ensemble of 2 models)"]
    assert not any("teacher" in label for label, _ in rows(result))
    lines = printed(accuracy_table(result))
    assert "global model" not in lines[0]
    assert any("FENS (ensemble of 2 models)" in line for line in lines)


@pytest.mark.parametrize(("accuracy", "text"), [(None, "–"), (0.0, "0.0 %"), (0.97849, "97.8 %"), (1.0, "100.0 %")])
def test_a_percentage_has_one_decimal(accuracy: float | None, text: str) -> None:
    assert percent(accuracy) == text


def test_the_accuracy_table_says_what_the_result_says_in_80_columns() -> None:
    lines = printed(accuracy_table({**RESULT, "teacher_accuracy": None}))
    words = [line.split() for line in lines]
    assert max(map(len, lines)) <= 80
    assert ["client", "1", "·", "mlp:64", "1,290", "7", "67.6", "%"] in words
    assert ["meta-model", "teacher", "–"] in words
    assert lines[0].strip() == "digits · 2 clients · α = 0.1 · seed 0 · global model cnn:32"


def test_only_the_global_model_is_bold() -> None:
    table = accuracy_table(RESULT)
    bold = [label for (label, _), row in zip(rows(RESULT), table.rows, strict=True) if "bold" in str(row.style)]
    assert bold == ["distilled student (the one global model)"]


def test_markup_in_a_name_is_only_text() -> None:
    assert any("[red]" in line for line in printed(class_table(torch.tensor([[1, 2]]), ["[red]", "[/]"])))


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_class_table_is_readable_at_80_columns(classes: int) -> None:
    counts = torch.arange(3 * classes).reshape(3, classes) % 150
    lines = printed(class_table(counts, [f"a class named {c}" for c in range(classes)]), width=200)
    assert max(map(len, lines)) <= 80
    for k in range(3):
        row = next(line.split() for line in lines if line.split()[:1] == [str(k)])
        assert row[-1] == f"{int(counts[k].sum()):,}"


def test_many_classes_become_a_list_of_the_largest() -> None:
    counts = torch.zeros(1, 40, dtype=torch.int64)
    counts[0, 3], counts[0, 7] = 5, 60
    (row,) = [line for line in printed(class_table(counts, [f"c{i}" for i in range(40)])) if "c7" in line]
    assert row.split() == ["0", "2", "c7:", "60,", "c3:", "5", "65"]


def test_a_name_is_cut_to_one_line() -> None:
    assert shorten("of the\nnorth", 20) == "of the north"
    assert shorten("chimpanzee", 5) == "chim…"


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        return picture.size


@pytest.mark.parametrize(("clients", "classes"), [(1, 2), (1, 100), (5, 10), (50, 2), (50, 10)])
def test_split_and_samples_are_pictures_of_a_sane_size(clients: int, classes: int, tmp_path: Path) -> None:
    counts = torch.zeros(clients, classes, dtype=torch.int64)
    counts[torch.arange(clients), torch.arange(clients) % classes] = 123
    names = [f"class $ {c}" for c in range(classes)]
    split_picture(counts, names, tmp_path / "split.png")
    block = torch.zeros(classes, 1, 1, 8, 8, dtype=torch.uint8)
    samples = [(f"client {k}", block if k % 5 < 4 else None) for k in range(clients)]
    samples_picture(samples, counts > 0, names, tmp_path / "samples.png")
    for name in ("split.png", "samples.png"):
        assert all(200 <= side <= 6000 for side in size_of(tmp_path / name))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["samples.png", "split.png"]


def test_a_class_the_client_lacks_stays_blank(tmp_path: Path) -> None:
    red = torch.zeros(2, 1, 3, 8, 8, dtype=torch.uint8)
    red[:, :, 0] = 255

    def red_pixels(held: list[bool]) -> int:
        samples_picture([("client 0", red)], torch.tensor([held]), ["a", "b"], tmp_path / "s.png")
        with Image.open(tmp_path / "s.png") as picture:
            return picture.convert("RGB").tobytes("raw", "RGBX").count(b"\xff\x00\x00\xff")

    assert red_pixels([True, True]) == 2 * 40 * 40  # tiles are 40 pixels a side, drawn pixel by pixel
    assert red_pixels([True, False]) == 40 * 40
    assert red_pixels([False, False]) == 0


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 5, 7), (3, 224, 100)])
def test_samples_of_any_shape_are_drawn(shape: tuple[int, int, int], tmp_path: Path) -> None:
    block = torch.full((2, 3, *shape), 200, dtype=torch.uint8)
    samples_picture([("client 0", block)], torch.ones(1, 2), ["a", "b"], tmp_path / "s.png")
    size_of(tmp_path / "s.png")


@pytest.mark.parametrize("clients", [0, 5, 50])
def test_accuracies_are_a_picture_with_and_without_a_ceiling(clients: int, tmp_path: Path) -> None:
    result = {**RESULT, "local_accuracy": [0.5] * clients, "models": ["cnn:16"] * clients}
    accuracy_picture(rows(result), tmp_path / "all.png")
    result |= {"centralised_accuracy": None, "teacher_accuracy": None}
    accuracy_picture(rows(result), tmp_path / "few.png")
    assert size_of(tmp_path / "all.png") == size_of(tmp_path / "few.png")


def test_no_half_written_picture_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(MosaicError, match=r"cannot write .*a\.png"):
        accuracy_picture(rows(RESULT), tmp_path / "file" / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(MosaicError):
        accuracy_picture(rows(RESULT), tmp_path / "b.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.png", "file"]
