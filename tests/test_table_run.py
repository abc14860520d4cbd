"""Tables from end to end: the real commands on scikit-learn's breast cancer and wine data."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.config import Config
from mosaic_fl.data.export import save_parquet
from mosaic_fl.data.memory import from_table
from mosaic_fl.data.schema_file import read_schema
from mosaic_fl.data.sources import load, load_file
from mosaic_fl.data.table.rows import table_of
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note
from test_table_reading import SCHEMA

QUICK = ["--generator", "none"]
for setting in ("train.max_steps=80", "meta.steps=40", "distill.steps=150", "distill.prior_pool=2000", "run.workers=1"):
    QUICK += ["--set", setting]
SERVER = ["--set", "distill.prior=uniform", "--set", "distill.terms=1"]


@pytest.fixture(scope="module")
def cancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.csv, b.csv and test.csv of 569 patients: 30 numbers and an outcome each."""
    folder = tmp_path_factory.mktemp("cancer")
    bunch = load_breast_cancer()
    names = [*bunch.feature_names, "outcome"]
    outcomes = np.array(["malignant", "benign"])[bunch.target]
    rows = [[*values, outcome] for values, outcome in zip(bunch.data.tolist(), outcomes, strict=True)]
    order = np.random.default_rng(0).permutation(len(rows))
    for name, part in {"a": order[:200], "b": order[200:400], "test": order[400:], "all": order}.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows(rows[i] for i in part)
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_commands_of_two_sites_and_a_server(cancer: Path) -> None:
    mosaic("schema", "a.csv", "--label-column", "outcome", "--out", "s.toml", cwd=cancer)
    mosaic("schema", "b.csv", "--check", "s.toml", cwd=cancer)
    for client, name in enumerate("ab"):
        words = ["--data", f"{name}.csv", "--schema", "s.toml", "--model", "mlp:32", "--client", str(client)]
        mosaic("contribute", *words, *QUICK, "--out", f"{name}.contribution", cwd=cancer)
    files = ["a.contribution", "b.contribution"]
    printed = mosaic("distill", *files, "--test", "test.csv", *SERVER, *QUICK[2:], "--out", "global", cwd=cancer)
    assert "The model in service: AUROC 9" in printed
    result = json.loads((cancer / "global" / "result.json").read_text())
    assert result["accuracy"] > 0.9
    assert result["quality"]["served"]["auroc"] > 0.97
    assert len(result["quality"]["local"]) == 2

    words = ["--data", "test.csv", "--probabilities", "--out", "predictions.csv"]
    mosaic("predict", "global", *words, cwd=cancer)
    predictions = rows_of(cancer / "predictions.csv")
    assert list(predictions[0]) == [
        "row", "class", "name", "probability", "confidence",
        "probability:benign", "probability:malignant", "error",
    ]  # fmt: skip
    truth = [row["outcome"] for row in rows_of(cancer / "test.csv")]
    right = np.mean([row["name"] == outcome for row, outcome in zip(predictions, truth, strict=True)])
    assert right == pytest.approx(result["accuracy"])
    model = mosaic_fl.GlobalModel.load(cancer / "global")
    columns = {name: [row[name] for row in rows_of(cancer / "test.csv")] for name in rows_of(cancer / "test.csv")[0]}
    assert model.evaluate(columns, truth).accuracy == pytest.approx(result["accuracy"])


def test_a_row_that_cannot_be_read_has_its_error_and_the_others_a_prediction(cancer: Path, tmp_path: Path) -> None:
    rows = rows_of(cancer / "a.csv")[:3]
    mosaic("run", "--data", cancer / "all.csv", "--label-column", "outcome", "--clients", "2", "--method", "fedavg",
           "--alpha", "5", "--rounds", "1", *QUICK[2:], "--out", "run", cwd=tmp_path)  # fmt: skip
    rows[1]["mean area"] = "large"
    for row in rows:
        del row["outcome"]
    with (tmp_path / "new.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        file.write("," * (len(rows[0]) - 1) + "\r\n")
    errors = io.StringIO()
    mosaic("predict", "run", "--data", "new.csv", "--out", "p.csv", cwd=tmp_path, err=errors)
    assert "2 of the 4 rows of new.csv could not be read" in errors.getvalue()
    predictions = rows_of(tmp_path / "p.csv")
    assert [bool(row["name"]) for row in predictions] == [True, False, True, False]
    assert predictions[3]["error"].startswith("line 5 of new.csv has no value in column ")
    assert predictions[1]["error"].startswith("line 3 of new.csv has 'large' in column 'mean area', which is numeric")


def test_a_run_on_one_machine_divides_by_classes_or_by_a_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bunch = load_wine()
    with (tmp_path / "wine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*bunch.feature_names, "cellar", "kind"])
        for i, (values, label) in enumerate(zip(bunch.data.tolist(), bunch.target.tolist(), strict=True)):
            writer.writerow([*values, ("north", "south")[i % 2], f"wine {label}"])
    common = ["--data", "wine.csv", "--label-column", "kind", "--prior", "uniform", "--set", "distill.terms=1", *QUICK]
    mosaic("run", *common, "--clients", "3", "--alpha", "1", "--out", "classes", cwd=tmp_path)
    result = json.loads((tmp_path / "classes" / "result.json").read_text())
    assert sum(result["samples"]) == 178 - 34  # a fifth of 59, 71 and 48 is set aside: 11 + 14 + 9
    assert result["quality"]["served"]["auroc"] > 0.9
    mosaic("run", *common, "--clients", "2", "--split-column", "cellar", "--out", "sites", cwd=tmp_path)
    result = json.loads((tmp_path / "sites" / "result.json").read_text())
    assert result["split"] == "by_column"
    names = [column.name for column in mosaic_fl.GlobalModel.load(tmp_path / "sites").schema.kind.columns]  # type: ignore[attr-defined]
    assert names == bunch.feature_names  # a column of sites is no feature
    wrong = ["run", "--data", tmp_path / "wine.csv", "--label-column", "kind", "--out", tmp_path / "x"]
    assert "has 2 values (north, south), and there are 5 clients: say --clients 2" in fails(
        capsys, *wrong, "--split-column", "cellar"
    )
    assert "--split iid and --split-column alcohol: give one of them" in fails(
        capsys, *wrong, "--split", "iid", "--split-column", "alcohol"
    )
    assert "the column 'kind' is the label" in fails(capsys, *wrong, "--split-column", "kind")
    assert "has no columns to divide by" in fails(capsys, "run", "--split-column", "age", "--out", tmp_path / "x")
    assert "needs a column of a table" in fails(capsys, *wrong, "--split", "by_column")


def config(name: Path, **values: object) -> Config:
    settings = {"data.name": str(name), "data.label_column": "y", **{f"data.{key}": v for key, v in values.items()}}
    return Config().with_values(settings)


def table(path: Path, rows: list[tuple[object, ...]], header: str = "x,kind,y") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_parts_of_a_data_set_are_found_by_their_names(tmp_path: Path) -> None:
    rows = [(i % 9, "ab"[i % 2], "no" if i % 3 else "yes") for i in range(60)]
    table(tmp_path / "trial-train.csv", rows)
    table(tmp_path / "trial-test.csv", [*rows[:10], ("", "c", "no")])
    for place in (tmp_path / "trial", tmp_path):
        with pytest.warns(Note, match="lack values, or have other categories, in x, kind: there values may be missing"):
            splits = load(config(place).data, 0)
        assert (len(splits.train), len(splits.test)) == (60, 10)  # a row without any value is left out


def test_the_schema_is_drafted_from_training_rows_alone(tmp_path: Path) -> None:
    rows = [(i, "ab"[i % 2], "no" if i % 3 else "yes") for i in np.random.default_rng(0).permutation(100)]
    table(tmp_path / "d-train.csv", rows[:60])
    table(tmp_path / "d-test.csv", [(1000, "a", "no")] * 20)
    with pytest.warns(Note, match="compare the units"):
        splits = load(config(tmp_path / "d").data, 0)
    column = splits.train.schema.kind.columns[0]  # type: ignore[attr-defined]
    assert column.high < 100
    table(tmp_path / "d-test.csv", [(1, "a", "maybe")])
    with pytest.raises(UsageError, match="class maybe of .* is none of the classes no, yes"):
        load(config(tmp_path / "d").data, 0)


def test_a_subset_keeps_the_column_that_divides(tmp_path: Path) -> None:
    rows = [(i % 9, "ab"[i % 2], "no" if i % 3 else "yes") for i in range(100)]
    splits = load(config(table(tmp_path / "d.csv", rows), max_train=30, split_column="kind").data, 0)
    assert splits.column is not None
    assert len(splits.column) == len(splits.train) == 30
    assert set(splits.column.tolist()) == {"a", "b"}


def test_a_list_of_pictures_is_still_one(tmp_path: Path) -> None:
    """A column with a usual name of files makes it so, also where a column of labels is named."""
    table(tmp_path / "d.csv", [("a.png", "b", "no")], "file,kind,y")
    with pytest.raises(UsageError, match="1 file of 1 that .* lists does not exist"):
        load(config(tmp_path / "d.csv").data, 0)


def test_a_split_is_exported_and_read_back(cancer: Path, tmp_path: Path) -> None:
    words = ["--data", cancer / "all.csv", "--label-column", "outcome", "--split-column", "mean area", "--clients", "3"]
    printed = mosaic("data", *words, "--export", "sites", "--out", "s.png", cwd=tmp_path)
    assert "3 clients' files and test.parquet" in printed
    schema = read_schema(tmp_path / "sites" / "schema.toml")
    parts = [load_file(tmp_path / "sites" / f"client-{k:03}.parquet", schema=schema) for k in range(3)]
    splits = load(Config().with_values({"data.name": str(cancer / "all.csv"), "data.label_column": "outcome"}).data, 0)
    assert schema == splits.train.schema
    assert sum(map(len, parts)) == len(splits.train)
    area = [column.name for column in table_of(schema).columns].index("mean area")
    highest = [float(part.images[:, area].max()) for part in parts]
    assert highest == sorted(highest)
    together = torch.cat([part.images for part in parts])
    assert torch.equal(together.sort(0).values, splits.train.images.sort(0).values)
    mosaic("schema", "sites/client-001.parquet", "--check", "sites/schema.toml", cwd=tmp_path)


def test_every_type_of_value_is_exported(tmp_path: Path) -> None:
    frame = {
        "age": [31, 54, 47],
        "weight": [70.5, None, 90],
        "smoker": ["yes", "no", None],
        "stage": ["high", "1", "?"],
    }
    data = from_table(frame, ["no", "yes", "no"], SCHEMA)
    save_parquet(data, tmp_path / "a.parquet")
    again = load_file(tmp_path / "a.parquet", schema=SCHEMA)
    assert torch.allclose(again.images, data.images, equal_nan=True)
    assert torch.equal(again.labels, data.labels)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--generator", "cvae"), "generator cvae draws samples of the kind image, not table: set generator.family"),
        (
            ("--generator", "none"),
            "no prior samples: add --prior photos (of tables: uniform), a generator",
        ),
        (("--prior", "photos", "--generator", "none"), "unknown prior of a table 'photos'"),
        (("--models", "cnn:16"), "model 'cnn:16' cannot take rows of 30 columns: "),
        (("--schema", "lost.toml"), "lost.toml does not exist"),
        (("--ignore", "mean age"), "has no column 'mean age'"),
    ],
)
def test_what_tables_cannot_do_is_told_before_any_work(
    cancer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    out = tmp_path / "run"
    told = fails(capsys, "run", "--data", cancer / "all.csv", "--label-column", "outcome", *words, "--out", out)
    assert message in told
    assert not out.exists()


def test_methods_are_compared_on_tables(cancer: Path, tmp_path: Path) -> None:
    words = [
        "--data",
        cancer / "all.csv",
        "--label-column",
        "outcome",
        "--clients",
        "2",
        "--alpha",
        "1",
        "--seeds",
        "0",
    ]
    methods = ["--methods", "fedavg,mean_probabilities,federated_xgboost", "--architectures", "equal"]
    trees = ["--student", "mlp:16", "--set", "federated_xgboost:rounds.warm_up=4"]
    shown = mosaic("compare", *words, *methods, *trees, *QUICK[2:], "--out", "grid", cwd=tmp_path)
    cells = [json.loads(path.read_text()) for path in (tmp_path / "grid" / "cells").rglob("*.json")]
    assert len(cells) == 3
    assert all(cell["quality"]["auroc"] > 0.9 for cell in cells)
    assert "AUROC %" in shown
    table = (tmp_path / "grid" / "table.md").read_text()
    assert "by AUROC" in table  # two classes
    assert "federated_xgboost (up to 4 rounds of trees; own rounds.warm_up 4)" in table


def test_a_metric_that_images_lack_is_refused_before_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["--methods", "fedavg", "--metric", "auroc", "--out", tmp_path / "grid"]
    assert "--metric auroc is measured on rows of tables alone" in fails(capsys, "compare", *words)


def test_a_deployed_site_has_a_table_and_the_schema_of_all(cancer: Path, tmp_path: Path) -> None:
    pytest.importorskip("flwr", reason="the flower extra is not installed")
    from mosaic_fl.deploy.prepare import check_data
    from mosaic_fl.engines.flower.site import load_site

    mosaic("schema", cancer / "a.csv", "--label-column", "outcome", "--out", tmp_path / "s.toml", cwd=tmp_path)
    lines = ["client = 0", f'data = "{cancer / "b.csv"}"', 'model = "mlp:8"', 'schema_file = "s.toml"']
    (tmp_path / "site.toml").write_text("\n".join([*lines, "[server]", 'address = "a:1"']))
    check_data(load_site(tmp_path / "site.toml"))
    (tmp_path / "bad.csv").write_text("mean radius,outcome\n1,benign\n2,malignant\n")
    (tmp_path / "site.toml").write_text((tmp_path / "site.toml").read_text().replace(str(cancer / "b.csv"), "bad.csv"))
    with pytest.raises(UsageError, match="bad.csv has no column 'mean texture' and 28 more"):
        check_data(load_site(tmp_path / "site.toml"))
