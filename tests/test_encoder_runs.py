"""Public encoders in commands: data are encoded once, sites must agree, a model predicts from pictures and says so."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from image_files import png
from mosaic_fl.cli import deploy
from mosaic_fl.config import Config, ReadingConfig
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.encoding import encode, encode_splits
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.encoders.reading import load, load_own, load_test
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.global_model import GlobalModel

FEW = [*QUICK, "--set", "rounds.steps=60", "--workers", "1", "--clients", "2", "--alpha", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """Digits of two sites and for tests, and a run on their vectors."""
    place = tmp_path_factory.mktemp("encoders")
    for name, part in (("a", digits.subset(range(0, 300))), ("b", digits.subset(range(300, 600)))):
        save_parquet(part, place / f"{name}.parquet")
    save_parquet(digits.subset(range(600, 700)), place / "test.parquet")
    words = ["--method", "fedavg", "--rounds", "3", "--set", "data.max_train=600"]
    mosaic("run", "--data", "digits", "--encoder", "auto", *words, *FEW, "--out", "run", cwd=place)
    return place


def test_a_run_on_vectors_says_what_its_encoder_was_trained_on(folder: Path, digits: Dataset) -> None:
    result = json.loads((folder / "run" / "result.json").read_text())
    encoder = make_encoder("gabor", digits.schema.kind)
    assert result["encoder"] == {"name": "gabor", "digest": encoder.digest, "trained_on": encoder.trained_on}
    assert result["accuracy"] > 0.9


def test_a_deployed_server_says_it_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deploy._print(json.loads((folder / "run" / "result.json").read_text()), folder)
    assert "Public encoder: gabor (trained on nothing: fixed filters" in capsys.readouterr().out


def test_data_are_encoded_once_after_they_are_read(digits: Dataset) -> None:
    splits = load(Config().with_values({"data.encoder": "gabor"}))
    raw = load(Config())
    assert splits.train.schema.kind == make_encoder("gabor", digits.schema.kind).kind
    assert torch.equal(splits.train.labels, raw.train.labels)
    expected = encode(raw.train, make_encoder("gabor", digits.schema.kind))
    assert torch.equal(splits.train.samples.only, expected.samples.only)


def test_a_model_predicts_from_pictures_and_from_their_vectors_alike(folder: Path, digits: Dataset) -> None:
    model = GlobalModel.load(folder / "run")
    images = digits.subset(range(50))
    vectors = encode(images, make_encoder("gabor", digits.schema.kind))
    logits = model.logits(vectors)
    assert torch.equal(model.logits(images), logits)
    assert torch.equal(model.logits(images.images), logits)
    assert torch.equal(model.logits(vectors.samples.only), logits)
    assert model.evaluate(images.images[:, 0], images.labels).accuracy > 0.9
    assert torch.equal(model.logits(images.images[0]), model.logits(images.images[:1]))
    assert torch.equal(model.logits(vectors.samples.only[0]), model.logits(vectors.samples.only[:1]))
    (folder / "pictures").mkdir()
    for row in range(20):
        (folder / "pictures" / f"{row:02}.png").write_bytes(png(images.images[row, 0].numpy()))
    np.savez(folder / "vectors.npz", features=vectors.samples.only[:20].numpy())
    for source in ("pictures", "vectors.npz"):
        rows = mosaic("predict", "run", "--data", source, cwd=folder).splitlines()
        assert [json.loads(row)["class"] for row in rows] == logits[:20].argmax(1).tolist()


def test_sites_exchange_vectors_by_files_and_a_test_is_encoded_as_they_are(folder: Path) -> None:
    """The server needs no name of the encoder: it is built in, and the contributions say it."""
    schema = ["--classes", "10", "--data", "a.parquet", "--encoder", "gabor"]
    mosaic("data", "--describe", *schema, "--out", "schema.json", cwd=folder)
    assert json.loads((folder / "schema.json").read_text())["of"]["kind"] == "image"
    few = ["--set", "train.max_steps=60", "--set", "train.min_steps=40", "--generator", "none", "--model", "mlp:16"]
    for client, name in enumerate("ab"):
        words = ["--data", f"{name}.parquet", "--client", str(client), "--out", f"{client}.contribution"]
        mosaic("contribute", "--schema", "schema.json", *words, *few, cwd=folder)
    made = [mosaic_fl.Contribution.load(folder / f"{client}.contribution") for client in range(2)]
    assert made[0].schema == made[1].schema
    assert made[0].schema.kind == load_own(folder / "a.parquet", ReadingConfig(encoder="gabor"), 10).schema.kind
    assert load_test(folder / "test.parquet", made[0].schema).schema == made[0].schema


def test_sites_of_other_encoders_are_told_before_any_work(folder: Path) -> None:
    few = {"train.max_steps": 2, "train.min_steps": 1, "generator.family": "none"}
    made = []
    for client, name in enumerate(("gabor", "gabor:64", "")):
        data = load_own(folder / "a.parquet", ReadingConfig(encoder=name), 10)
        made.append(mosaic_fl.contribute(data, model="mlp:8", client=client, settings=few))
    with pytest.raises(UsageError, match=r"client 1 has vectors of 64 numbers, not .* give the same --encoder"):
        mosaic_fl.distill(made[:2])
    with pytest.raises(UsageError, match="client 2 has the fields image, not vector as client 1: every site must give"):
        mosaic_fl.distill(made[1:])


def test_another_version_of_an_encoder_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], folder: Path, digits: Dataset
) -> None:
    model = GlobalModel.load(folder / "run")
    kind = model.schema.kind
    assert isinstance(kind, Vector)
    old = Schema({"vector": Vector(kind.size, "gabor", "ab" * 32, kind.of)}, model.schema.classes)
    GlobalModel(model.architecture, old, model.state).save(folder / "old.safetensors")
    message = "another version, or other weights: use the same one"
    with pytest.raises(UsageError, match=message):
        GlobalModel.load(folder / "old.safetensors").predict(digits.images[:2])
    assert message in fails(capsys, "predict", folder / "old.safetensors", "--data", folder / "test.parquet")


def test_an_encoder_that_is_not_built_in_is_named_at_the_server(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    model = GlobalModel.load(folder / "run")
    kind = model.schema.kind
    assert isinstance(kind, Vector)
    foreign = Schema({"vector": Vector(kind.size, "os:system", "ab" * 32, kind.of)}, model.schema.classes)
    GlobalModel(model.architecture, foreign, model.state).save(folder / "foreign.safetensors")
    words = ["predict", folder / "foreign.safetensors", "--data", folder / "test.parquet"]
    assert "name the same one here, by --encoder" in fails(capsys, *words)


def test_exported_vectors_have_the_schema_of_their_encoder(folder: Path) -> None:
    mosaic("data", "--data", "digits", "--encoder", "gabor:16", "--clients", "2", "--export", "parts", cwd=folder)
    words = ["--data", "parts/client-000.parquet", "--schema", "parts/schema.json", "--client", "0", "--model", "mlp:8"]
    few = ["--set", "train.max_steps=2", "--set", "train.min_steps=1", "--generator", "none"]
    mosaic("contribute", *words, *few, "--out", "c.contribution", cwd=folder)
    kind = mosaic_fl.Contribution.load(folder / "c.contribution").schema.kind
    assert isinstance(kind, Vector)
    assert (kind.size, kind.encoder) == (16, "gabor:16")


def test_an_encoder_of_vectors_is_refused(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    np.savez(folder / "own.npz", features=np.zeros((20, 3)), labels=np.arange(20) % 2)
    assert "leave out the encoder gabor" in fails(capsys, "run", "--data", folder / "own.npz", "--encoder", "gabor")


def test_an_unknown_encoder_is_refused_before_data_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    message = fails(capsys, "run", "--data", "absent.parquet", "--encoder", "gabro")
    assert "encoder" in message
    assert "did you mean gabor" in message


def test_a_python_program_encodes_arrays_and_predicts_from_them(digits: Dataset) -> None:
    vectors = mosaic_fl.encode(mosaic_fl.from_arrays(digits.images[:, 0], digits.labels))
    few = {"train.max_steps": 150, "train.min_steps": 150, "generator.family": "none"}
    contribution = mosaic_fl.contribute(vectors, model="mlp:64", client=0, settings=few)
    model = GlobalModel(contribution.architecture, contribution.schema, dict(contribution.expert))
    assert model.evaluate(digits.images, digits.labels).accuracy > 0.9


def test_a_table_s_rows_are_vectors_with_the_figures_of_tables(tmp_path: Path) -> None:
    words = ["--method", "fedavg", "--rounds", "2", "--encoder", "auto", "--out", "run"]
    mosaic("run", "--data", "breast_cancer", *words, *FEW, cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["encoder"]["name"] == "encoding"
    assert result["quality"]["served"]["auroc"] > 0.9


def test_without_a_name_nothing_is_encoded(digits: Dataset) -> None:
    splits = Splits("digits", digits, digits)
    assert encode_splits(splits, "") is splits


def test_a_long_encoding_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic_fl.encoders.encoding.LONG", 0.0)
    err = io.StringIO()
    mosaic("data", "--data", "digits", "--encoder", "gabor", "--clients", "2", cwd=folder, err=err)
    assert "gabor encodes 1,442 samples, which takes about" in err.getvalue()


def test_auto_leaves_vectors_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    np.savez(tmp_path / "own.npz", features=(rng.normal(size=(120, 4)) + labels[:, None]).astype("f"), labels=labels)
    mosaic("run", "--preset", "encoder", "--data", "own.npz", "--clients", "2", "--out", "r", cwd=tmp_path)
    assert json.loads((tmp_path / "r" / "result.json").read_text())["accuracy"] > 0.6
