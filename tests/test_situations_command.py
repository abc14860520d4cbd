"""Situations of labels, folders and lists through the real command line: what is written, and what is said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from command import fails
from image_files import write
from mosaic_fl.cli.main import main
from mosaic_fl.exchange.contribution import Contribution
from situations import both, dirs, files, listing, table

FEW = ["--generator", "none", *(f"--set=train.{name}_steps=2" for name in ("max", "min"))]
TWELVE = [str(i) for i in range(12)]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def runs(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The notes of `mosaic WORDS`, which ends well."""
    with pytest.raises(SystemExit) as exit:
        main(list(words))
    err = capsys.readouterr().err
    assert exit.value.code == 0, err
    return [line.removeprefix("mosaic: note: ") for line in err.splitlines() if line.startswith("mosaic: note: ")]


def contributed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, int], list[str]]:
    """How many samples each class of a site has in what it contributes, and the notes."""
    notes = runs(capsys, "contribute", "--model", "mlp:4", "--client", "0", "--out", "a.contribution", *FEW, *words)
    made = Contribution.load(Path("a.contribution"))
    return dict(zip(made.schema.classes, made.class_counts.tolist(), strict=True)), notes


@pytest.mark.parametrize(
    ("make", "words", "right", "said"),
    [
        (dirs(**{f"_{i}": 2 for i in range(12)}), ["--classes", "12"], dict.fromkeys(TWELVE, 2), []),
        (
            dirs(_2=2, _10=3),
            ["--classes", "12"],
            {name: {"2": 2, "10": 3}.get(name, 0) for name in TWELVE},
            [],
        ),
        (
            dirs(Train__a=3, Train__b=2, Test__a=1, valid__b=1),
            [],
            {"a": 3, "b": 2},
            ["of data, the training part is read: Train", "not read of data: valid, Test"],
        ),
        (
            table(["no", "yes", "no"], "x.parquet", age=[5, 6, 7], sex=list("fmf")),
            ["--classes", "yes,no"],
            {"yes": 1, "no": 2},
            ["columns of data/x.parquet that are not read: age, sex"],
        ),
        (
            both(dirs(a=2, b=2), files("a/1.dcm", "docs/x.md")),
            [],
            {"a": 2, "b": 2},
            [
                "no class of data, as they hold no image that can be read: docs",
                "1 file of data not read, as no images: 1 .dcm",
            ],
        ),
        (
            listing('file;label;age\na.png;"cat, small";5\nb.png;dog;6\n', "a.png", "b.png"),
            ["--classes-file", "names.txt"],
            {"dog": 1, "cat, small": 1, "owl": 0},
            ["data is read as list.csv says", "columns of data/list.csv that are not read: age"],
        ),
        (
            listing("scan,finding\na.png,1.0\nb.png,0\n", "a.png", "b.png"),
            ["--image-column", "scan", "--label-column", "finding", "--classes", "ill,well"],
            {"ill": 1, "well": 1},
            ["data is read as list.csv says"],
        ),
    ],
    ids=["twelve", "two of twelve", "parts", "text", "documents", "list", "columns"],
)
def test_contribute(
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], Any],
    words: list[str],
    right: dict[str, int],
    said: list[str],
) -> None:
    Path("data").mkdir()
    make(Path("data"))
    Path("names.txt").write_text("dog\ncat, small\nowl\n")
    assert contributed(capsys, "--data", "data", *words) == (right, said)


@pytest.mark.parametrize(
    ("make", "words", "said"),
    [
        (
            table([1, 2, 3]),
            [],
            "the labels of data/x.parquet are 1, 2, 3, and none is 0: say how many classes there are",
        ),
        (table([0, 5, 900]), [], "in all (--classes 901), or the names of all, as 0,5,900"),
        (dirs(test__a=1, test__b=1), [], "data has test, but no *train*.parquet and no folder called train"),
        (
            dirs(Cat=1, dog=1),
            ["--classes", "cat,dog"],
            "class Cat of data is none of the classes cat, dog: did you mean cat?",
        ),
        (both(dirs(a=1, b=1), files("c/1.heic")), [], "data/c holds no image that can be read (1 .heic)"),
        (table([0, 1]), ["--label-column", "finding"], "unknown column 'finding': known: image, label"),
        (
            dirs(a=1, b=1),
            ["--classes", "2", "--classes-file", "x"],
            "--classes 2 and --classes-file x: give one of them",
        ),
        (dirs(a=1, b=1), ["--classes-file", "x"], "cannot read x: No such file"),
        (
            listing("file,label\nc.png,1\n"),
            [],
            "1 file of 1 that data/list.csv lists does not exist, the first in line 2",
        ),
    ],
    ids=["from 1", "gaps", "test alone", "another case", "heic", "no column", "twice", "no file", "missing"],
)
def test_contribute_refuses(
    capsys: pytest.CaptureFixture[str], make: Callable[[Path], Any], words: list[str], said: str
) -> None:
    Path("data").mkdir()
    make(Path("data"))
    line = fails(capsys, "contribute", "--data", "data", "--model", "mlp:4", "--client", "0", "--out", "a.c", *words)
    assert said in line
    assert not Path("a.c").exists()


def test_a_file_of_names_describes_what_all_sites_compare(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data").mkdir()
    dirs(dog=1)(Path("data"))
    Path("names.txt").write_text("owl, small\ndog\n")
    runs(capsys, "data", "--describe", "--data", "data", "--classes-file", "names.txt", "--out", "schema.json")
    assert json.loads(Path("schema.json").read_text())["classes"] == ["owl, small", "dog"]
    assert "--classes-file names.txt goes with --describe" in fails(capsys, "data", "--classes-file", "names.txt")


def test_data_names_each_client_s_classes_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """A simulation of a folder in parts, of which one file is not read; `tiny10` is not `tiny100`."""
    for name in ("tiny10", "tiny100"):
        table([0, 1] * 5, f"{name}-train.parquet")(Path())
        table([0, 1], f"{name}-val.parquet")(Path())
    words = ["data", "--data", "tiny10", "--clients", "1", "--split", "iid", "--out", "x.png"]
    assert runs(capsys, *words) == ["tiny10 has no test part: tiny10-val.parquet serves as one"]
    assert "tiny10-train, tiny100-train" in fails(capsys, "data", "--data", "tiny1")


def test_a_test_set_is_read_by_name_and_refused_where_its_names_do_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    """One label of two is swapped in the file's own numbers: by name all agree, by number none would."""
    Path("data").mkdir()
    dirs(cat=30, dog=10)(Path("data"))
    contributed(capsys, "--data", "data")
    quick = [f"--set={name}" for name in ("distill.steps=2", "distill.pool=40", "meta.steps=2", "meta.samples=40")]
    words = ["distill", "a.contribution", "--student", "mlp:4", "--set=distill.prior=procedural", *quick]
    images = [file.read_bytes() for name in ("cat", "dog") for file in sorted(Path("data", name).iterdir())]
    accuracies = []
    for names in (["cat", "dog"], ["dog", "cat"]):
        labels = [names.index(name) for name, n in (("cat", 30), ("dog", 10)) for _ in range(n)]
        write(Path("test.parquet"), labels, images, names=names)
        runs(capsys, *words, "--test", "test.parquet", "--out", f"{names[0]}-first")
        accuracies.append(json.loads(Path(f"{names[0]}-first/result.json").read_text())["accuracy"])
    assert accuracies[0] == accuracies[1]
    write(Path("test.parquet"), [0, 1], names=["cat", "owl"])
    line = fails(capsys, *words, "--test", "test.parquet", "--out", "c")
    assert line.startswith("class owl of test.parquet is none of the classes cat, dog")
    assert not Path("c").exists()


@pytest.mark.parametrize("words", ["distill x", "deploy server --clients 2 --out y"])
def test_options_of_images_without_any_have_no_use_and_that_is_told(
    capsys: pytest.CaptureFixture[str], words: str
) -> None:
    Path("x").touch()
    with pytest.raises(SystemExit):  # for want of what else it needs
        main([*words.split(), "--image-size", "4", "--skip-broken"])
    assert "mosaic: note: --image-size, --skip-broken without --test: no image is read" in capsys.readouterr().err
