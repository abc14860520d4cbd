"""`--bundle`: the global model's file holds its public encoder, checked by its digest, and no code travels with it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.cli.main import main
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.prior.procedural import drawings
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders import bundle as bundles
from mosaic_fl.encoders import efficientnet, gabor, naming, strokes
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange import bundled
from mosaic_fl.exchange.encoded import encoded
from mosaic_fl.exchange.global_model import KIND, GlobalModel
from mosaic_fl.models.registry import build
from mosaic_fl.notes import Note
from mosaic_fl.storage import container
from onnx_models import constant, graph, model, node
from table_cases import SCHEMA, patients

DIGITS = Image((1, 8, 8))
OWN = "test_joined_encoders:Sums"
BUILT_IN = ["gabor", "gabor:16", "strokes", "efficientnet-lite0:32", "gabor:16+strokes"]


@pytest.fixture(autouse=True)
def _none_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Encoders are made anew, and what they keep is in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for made in (naming._made, bundles._made):
        made.cache_clear()
    yield
    for made in (naming._made, bundles._made):
        made.cache_clear()


def pictures(count: int) -> torch.Tensor:
    return drawings(count, DIGITS.shape, torch.Generator().manual_seed(0))


def model_of(name: str, kind: Kind = DIGITS) -> GlobalModel:
    """An untrained classifier of the vectors of an encoder."""
    schema = Schema({"vector": make_encoder(name, kind).kind}, ("a", "b", "c"))
    torch.manual_seed(0)
    return GlobalModel("mlp:8", schema, build("mlp:8", schema).state_dict())


def hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this machine has no file of any encoder."""

    def absent() -> Any:
        raise AssertionError("the machine's own file of the encoder was read")

    for module, name in ((gabor, "_content"), (strokes, "_content"), (efficientnet, "_weights")):
        monkeypatch.setattr(module, name, absent)
    efficientnet._network.cache_clear()
    naming._made.cache_clear()


def onnx_file(place: Path) -> Path:
    weights = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    made = model(graph([node("MatMul", ["x", "w"], ["y"])], [constant("w", weights.numpy())], gives=(None, 5)))
    file = place / "mine.onnx"
    file.write_bytes(made.SerializeToString())
    return file


def changed(whole: GlobalModel, **parts: bytes) -> bytes:
    """The file of a model in which parts of its bundle are other bytes."""
    return replace(whole, bundle={**whole.bundle, **parts}).to_bytes()


@pytest.mark.parametrize("name", BUILT_IN)
def test_it_predicts_the_same_bit_for_bit_where_the_encoder_is_absent(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = model_of(name)
    expected = plain.predict_proba(pictures(70))
    content = plain.bundled().to_bytes()
    hide(monkeypatch)
    again = GlobalModel.from_bytes(content)
    assert torch.equal(again.predict_proba(pictures(70)), expected)
    assert again.to_bytes() == content
    assert list(again.bundle) == name.split("+")
    with pytest.raises(AssertionError):
        GlobalModel.from_bytes(plain.to_bytes()).predict_proba(pictures(1))


def test_an_onnx_encoder_travels_as_its_bytes_and_runs_in_its_own_process(tmp_path: Path) -> None:
    file = onnx_file(tmp_path)
    plain = model_of(str(file))
    assert plain.schema.kind.shape == (5,)
    vectors = make_encoder(str(file), DIGITS).vectors(pictures(40))
    whole = plain.bundled(str(file))
    assert list(whole.bundle.values()) == [file.read_bytes()]
    file.unlink()
    naming._made.cache_clear()
    again = GlobalModel.from_bytes(whole.to_bytes())
    assert torch.equal(again.predict_proba(pictures(40)), plain.predict_proba(vectors))
    with pytest.raises(UsageError, match="is not built in: name the same one here"):
        plain.predict_proba(pictures(1))


def test_rows_of_a_table_need_no_more_than_the_schema() -> None:
    plain = model_of("encoding", SCHEMA.kind)
    whole = GlobalModel.from_bytes(plain.bundled().to_bytes())
    assert whole.bundle == {"encoding": b""}
    data = patients(20)
    assert torch.equal(whole.predict_proba(data), plain.predict_proba(encode(data, "encoding")))


def test_without_it_the_file_is_as_before() -> None:
    plain = model_of("gabor:16")
    manifest, tensors = container.unpack(plain.to_bytes(), KIND, "x")
    assert manifest.keys() == {"architecture", "schema"}
    assert tensors.keys() == plain.state.keys()
    assert "with its encoder" in repr(plain.bundled())
    assert "with its encoder" not in repr(plain)


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_altered_encoder_is_refused_when_the_model_is_read(name: str) -> None:
    whole = model_of(name).bundled()
    part, content = next(iter(whole.bundle.items()))
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1])
    for other in (content[:middle] + flipped + content[middle + 1 :], content[:-1], b"", b"no tensors"):
        with pytest.raises(UsageError, match="is not the one that the model was made with: damaged, altered") as error:
            GlobalModel.from_bytes(changed(whole, **{part: other}), "got.safetensors")
        assert str(error.value).startswith("got.safetensors: ")
        assert "\n" not in str(error.value)


def test_an_altered_onnx_encoder_is_refused(tmp_path: Path) -> None:
    file = onnx_file(tmp_path)
    whole = model_of(str(file)).bundled(str(file))
    with pytest.raises(UsageError, match="is not the one that the model was made with"):
        GlobalModel.from_bytes(changed(whole, **dict.fromkeys(whole.bundle, b"x")))


@pytest.mark.parametrize("name", ["gabor:16", "strokes"])
def test_weights_of_other_shapes_are_refused_though_the_digest_agrees(name: str) -> None:
    """Whoever writes both the encoder and its digest makes no network of other sizes here."""
    whole = model_of(name).bundled()
    kind = whole.schema.kind
    assert isinstance(kind, Vector)
    tensors = load(whole.bundle[name])
    first = min(tensors)
    for other in (torch.zeros(7), torch.full(tensors[first].shape, torch.nan), tensors[first].int()):
        content = save({**tensors, first: other})
        digest = bundles._carried(name, DIGITS).digest(bundles._argument(name), DIGITS, content)
        schema = Schema({"vector": replace(kind, digest=digest)}, whole.schema.classes)
        crafted = GlobalModel.from_bytes(replace(whole, schema=schema, bundle={name: content}).to_bytes())
        with pytest.raises(UsageError, match="is not the one that the model was made with"):
            crafted.predict(pictures(1))


@pytest.mark.parametrize("name", ["os:system", "timm:resnet18", f"module:{OWN}", "gabor+os:system"])
def test_no_name_in_a_file_runs_code(name: str) -> None:
    kind = Vector(16, name, "ab" * 32, DIGITS)
    schema = Schema({"vector": kind}, ("a", "b"))
    crafted = GlobalModel("mlp:8", schema, build("mlp:8", schema).state_dict(), dict.fromkeys(name.split("+"), b"x"))
    with pytest.raises(UsageError, match="would be code: it is not read|unknown encoder"):
        GlobalModel.from_bytes(crafted.to_bytes())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("gabor:16", "what is no list of names"),
        ([], "what is no list of names"),
        ([3], "what is no list of names"),
        (["a"] * 5, "what is no list of names"),
        (["gabor:16", "gabor:16"], "what the file does not hold"),
        (["gabor:16", "strokes"], "what the file does not hold"),
        (["strokes"], "holds the encoders 'strokes', and needs 'gabor:16'"),
    ],
)
def test_a_manifest_that_contradicts_the_file_is_refused(value: Any, message: str) -> None:
    manifest, tensors = container.unpack(model_of("gabor:16").bundled().to_bytes(), KIND, "x")
    with pytest.raises(UsageError, match=message):
        GlobalModel.from_bytes(container.pack(KIND, {**manifest, "bundle": value}, tensors))


@pytest.mark.parametrize(("name", "of"), [("encoding", DIGITS), ("gabor", SCHEMA.kind), ("strokes", SCHEMA.kind)])
def test_an_encoder_of_other_values_is_refused(name: str, of: Kind) -> None:
    schema = Schema({"vector": Vector(4, name, "ab" * 32, of)}, ("a", "b"))
    crafted = GlobalModel("mlp:8", schema, build("mlp:8", schema).state_dict(), {name: b""})
    with pytest.raises(UsageError, match=f"holds the encoder '{name}', which takes no"):
        GlobalModel.from_bytes(crafted.to_bytes())


def test_a_bundle_of_a_model_without_encoder_is_refused() -> None:
    schema = Schema({"image": DIGITS}, ("a", "b"))
    crafted = GlobalModel("mlp:8", schema, build("mlp:8", schema).state_dict(), {"gabor": b"x"})
    with pytest.raises(UsageError, match="holds an encoder, but takes no vectors of one"):
        GlobalModel.from_bytes(crafted.to_bytes())


def test_a_large_encoder_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = model_of("gabor:16")
    content = plain.bundled().to_bytes()
    for module in (bundles, bundled):
        monkeypatch.setattr(module, "MOST", 1000)
    with pytest.raises(UsageError, match="--bundle: the encoder has .* MiB: a model's file holds"):
        plain.bundled()
    with pytest.raises(UsageError, match="holds an encoder of .* bytes: 1,000 at most are read"):
        GlobalModel.from_bytes(content)


def test_code_does_not_travel() -> None:
    for name in (OWN, f"gabor:16+{OWN}"):
        with pytest.raises(UsageError, match="is code, which no model's file holds: leave --bundle out, or export it"):
            model_of(name).bundled(name)


def test_an_encoder_that_the_user_names_goes_before_that_in_the_file(tmp_path: Path) -> None:
    whole = model_of("gabor:16").bundled()
    behind = encoded(whole, "gabor:16")
    assert behind is not None
    assert behind.encoder is make_encoder("gabor:16", DIGITS)
    with pytest.raises(UsageError, match="the encoder here gives"):
        encoded(whole, "gabor:8")


def test_python_s_distill_bundles_by_the_setting(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = encode(digits.subset(range(300)), "gabor:16")
    few = {"generator.family": "moments"}
    sent = [mosaic_fl.contribute(vectors, model="discriminant", client=0, settings=few)]
    words: dict[str, Any] = {"student": "discriminant", "settings": {"models.bundle": True}}
    made = mosaic_fl.distill(sent, **words)
    expected = made.predict_proba(vectors)
    content = made.to_bytes()
    hide(monkeypatch)
    assert torch.equal(GlobalModel.from_bytes(content).predict_proba(digits.images[:300]), expected)


def test_the_commands_write_read_and_show_it(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_parquet(digits.subset(range(400)), tmp_path / "train.parquet")
    save_parquet(digits.subset(range(400, 450)), tmp_path / "test.parquet")
    words = ["--data", ".", "--preset", "encoder", "--encoder", "gabor:16", "--clients", "2"]
    printed = mosaic("run", *words, "--bundle", "--out", "run", cwd=tmp_path)
    size = len(gabor._content())
    assert f"{size:,} bytes in the model's file" in printed
    assert json.loads((tmp_path / "run" / "result.json").read_text())["encoder"]["bundled"] == size
    rows = mosaic("predict", "run", "--data", "test.parquet", "--probabilities", cwd=tmp_path)
    hide(monkeypatch)
    assert mosaic("predict", "run", "--data", "test.parquet", "--probabilities", cwd=tmp_path) == rows
    shown = mosaic("inspect", "run", cwd=tmp_path)
    assert f"holds its encoder gabor:16, {size:,} of" in shown
    values = json.loads(mosaic("inspect", "run", "--json", cwd=tmp_path))
    assert values["encoder"]["bundled"] == size
    file = tmp_path / "run" / "global_model.safetensors"
    assert values["bytes"] == file.stat().st_size
    with pytest.raises(SystemExit) as exit:
        main(["check", str(file), "--json"])
    assert exit.value.code == 1
    (row,) = json.loads(capsys.readouterr().out)["files"]
    assert f"is a global model, no contribution; it holds its encoder gabor:16, {size:,} of" in row["defect"]
    assert "draws nothing" in fails(capsys, "inspect", file, "--data", tmp_path, "--pictures", tmp_path / "p.png")


def test_a_model_of_pictures_needs_none(digits: Dataset) -> None:
    plain = GlobalModel("mlp:8", digits.schema, build("mlp:8", digits.schema).state_dict())
    assert plain.bundled() is plain
    own = Schema({"vector": Vector(3)}, ("a", "b"))
    with pytest.raises(UsageError, match="--bundle: the model takes vectors of 3 numbers that no public encoder made"):
        GlobalModel("mlp:8", own, build("mlp:8", own).state_dict()).bundled()
    sent = [mosaic_fl.contribute(digits.subset(range(50)), model="mlp:4", client=0, settings={"generator.steps": 5})]
    few = {"models.bundle": True, "distill.steps": 2, "meta.steps": 2, "distill.terms": 1}
    with pytest.warns(Note, match="--bundle has no use: the global model takes 1×8×8 images"):
        assert not mosaic_fl.distill(sent, student="mlp:4", settings=few).bundle
