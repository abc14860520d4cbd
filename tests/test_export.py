"""A global model for other programs: what each format answers, what is refused, and the card beside it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from export_cases import FIELDS, PICTURES, encoded, network, sure, trees
from mosaic_fl.cli.main import main
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.pictures import fitted, weights_of
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.card import Export, model_card
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.export.exporting import export
from mosaic_fl.export.preparation import Rows
from mosaic_fl.export.served import Served
from mosaic_fl.export.torch_code import loaded
from mosaic_fl.export.trial import trial_samples
from prediction_cases import brightness
from table_cases import SCHEMA as ROWS
from table_cases import patients

MAKE = {
    "image": lambda: network(PICTURES, "cnn:4"),
    "table": lambda: network(ROWS, "mlp:8"),
    "fields": lambda: network(FIELDS, "fusion:8"),
    "encoder": encoded,
    "trees": trees,
}
RESULT = {
    "clients": 2, "accuracy": 0.75, "recall": [1.0, 0.5, None], "samples": [30, 20], "models": ["mlp:4", "cnn:4"],
    "classes_held": [3, 2], "local_accuracy": [0.5, 0.7], "seed": 0, "title": "Mosaic", "detail": {"samples": 100},
    "privacy": {"epsilon": 3.0, "delta": 1e-5}, "confidence": {"ece": 0.1, "ece_calibrated": 0.05, "strange": 0.02},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("image", "onnx"), ("table", "onnx"), ("fields", "onnx"), ("encoder", "onnx"), ("trees", "onnx"),
        ("table", "torchscript"), ("encoder", "torchscript"),
        ("image", "torch"), ("encoder", "torch"), ("fields", "torch"),
        ("table", "sklearn"), ("encoder", "sklearn"),
    ],
)  # fmt: skip
def test_every_format_answers_as_mosaic_does(kind: str, to: str, tmp_path: Path) -> None:
    exported = export(MAKE[kind](), to, tmp_path / "out")
    assert exported.difference is not None
    assert exported.difference < 1e-4
    assert exported.samples == 131
    assert exported.left_out == ""
    assert all(file.stat().st_size for file in exported.files)
    assert (tmp_path / "out" / "README.md").read_text().startswith("---\n# license")


def test_the_inputs_are_values_at_rest_and_the_outputs_those_of_the_assessment() -> None:
    served = Served(MAKE["fields"]())
    assert [one.name for one in served.inputs] == ["photo", "has_photo", "table", "has_table"]
    assert served.inputs[0].form == "photo: uint8 (n, 1, 12, 10)"
    assert served.outputs == ["probabilities", "confidence", "strangeness"]
    assert Served(encoded()).inputs[0].name == "image"


def test_rows_are_encoded_as_the_schema_says() -> None:
    values = patients(50).samples.only
    values[0] = torch.tensor([150.0, -7.0, 1.0, torch.nan])  # beyond both ranges, and a missing category
    values[1] = torch.tensor([25.0, torch.nan, 0.0, 2.0])  # on a knot
    expected = ROWS.kind.to_network(values)
    assert torch.allclose(Rows(ROWS.kind)(values), expected, atol=1e-6)
    # An age of 25 is the first of three inner knots of four steps: −1 + 2 · 1/4.
    assert float(Rows(ROWS.kind)(values)[1, 0]) == pytest.approx(-0.5)


def test_a_resize_is_a_product_with_two_matrices() -> None:
    pixels = torch.rand(2, 1, 12, 40, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(weights_of(12, 32) @ pixels @ weights_of(40, 32).T, fitted(pixels, 32), atol=1e-6)


def test_what_differs_too_much_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(MosaicError, match="differ by .* nothing is written"):
        export(MAKE["encoder"](), "torchscript", tmp_path / "out", tolerance=1e-12)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="did you mean onnx"):
        export(MAKE["image"](), "onx", tmp_path / "out")


def test_a_model_behind_a_program_goes_out_as_one_of_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic_fl.export.served.TRACEABLE", ())
    exported = export(encoded(), "torchscript", tmp_path / "out")
    assert exported.left_out == "the encoder gabor:16+strokes, which is no network of this package"
    assert "- input `vector`: float32 (n, 48)" in (tmp_path / "out" / "README.md").read_text()


def test_the_folder_of_torch_needs_torch_alone(tmp_path: Path) -> None:
    model = MAKE["image"]()
    export(model, "torch", tmp_path / "out")
    program = (
        "import sys, torch, model; x = torch.full((1, 1, 12, 10), 200, dtype=torch.uint8); "
        "print(model.load()(x)['probabilities'].tolist()); print(model.CLASSES); "
        "print([name for name in ('mosaic_fl', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "out", capture_output=True, text=True, check=True
    )
    answers, classes, others = done.stdout.splitlines()
    expected = model.predict_proba(torch.full((1, 1, 12, 10), 200, dtype=torch.uint8))
    assert json.loads(answers)[0] == pytest.approx(expected[0].tolist(), abs=1e-6)
    assert (classes, others) == ("['cat', 'dog | 2', 'owl']", "[]")


def test_names_are_no_code(tmp_path: Path) -> None:
    """Names come from whoever made the model, and stand in a program and in a card."""
    names = ('"""; 1/0 #', "\\", "', 1/0, '", "\U0001f600 {0} `x` |")
    schema = Schema({'x"""; 1/0 # {1}': PICTURES.kind}, names)
    export(network(schema, "mlp:4"), "torch", tmp_path / "out")
    assert list(names) == loaded(tmp_path / "out" / "model.py").CLASSES
    assert "\\`x\\` \\|" in (tmp_path / "out" / "README.md").read_text()


def test_a_module_of_ones_own_goes_out(tmp_path: Path) -> None:
    assert (export(brightness(), "torch", tmp_path / "a").difference or 0) < 1e-6
    assert (export(sure(brightness()), "torchscript", tmp_path / "b").difference or 0) < 1e-5


def test_onnx_has_the_classes(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    export(MAKE["image"](), "onnx", tmp_path / "out")
    model = onnx.load(tmp_path / "out" / "model.onnx")
    assert {one.key: json.loads(one.value) for one in model.metadata_props}["mosaic.classes"] == list(PICTURES.classes)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"


def test_the_card_has_every_field_that_a_result_fills() -> None:
    yaml = pytest.importorskip("yaml")
    text = model_card(MAKE["image"](), RESULT, Export("mosaic"), "1.2.3")
    front = yaml.safe_load(text.split("---\n")[1])
    assert "license" not in front
    assert front["pipeline_tag"] == "image-classification"
    metric = front["model-index"][0]["results"][0]["metrics"][0]
    # 75 of 100, Wilson: centre (0.75 + z²/200)/(1 + z²/100), z = 1.96.
    assert metric == {"type": "accuracy", "value": 0.75, "name": "accuracy, 95 % interval 0.6570 to 0.8245"}
    for line in [
        "private data of 2 sites which never left them",
        "| accuracy | 0.7500 | 0.6570–0.8245 |",
        "| accuracy of the sites' own models | 0.5000–0.7000 | |",
        "| dog \\| 2 | 0.500 |",
        "| 0 | 30 | 3 | mlp:4 |",
        "What left a site is (3, 1e-05)-differentially private.",
        "- A sample is strange above 4: by hand.",
        "- Calibration error on test data: 0.1000, calibrated 0.0500.",
        "- **Made by**: mosaic-fl 1.2.3",
        'model = GlobalModel.load("global_model.safetensors")',
    ]:
        assert line in text, line


def test_a_card_without_a_result_says_so() -> None:
    yaml = pytest.importorskip("yaml")
    text = model_card(MAKE["table"](), {}, Export("card"), "1.2.3")
    assert yaml.safe_load(text.split("---\n")[1])["pipeline_tag"] == "tabular-classification"
    assert "Nothing was measured on test data." in text
    assert "| ward | category | a, b, c |" in text
    assert "## How to use it" not in text


def test_pushing_uploads_the_model_and_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    seen: dict[str, Any] = {}

    class Api:
        def __init__(self, token: str | None) -> None:
            seen["token"] = token

        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
            seen["repo"] = (repo_id, private, exist_ok)

        def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> Any:
            seen["files"] = {file.name: file.read_bytes() for file in Path(folder_path).iterdir()}
            return type("Commit", (), {"commit_url": f"https://hub/{repo_id}/commit/1"})

    monkeypatch.setattr(hub, "HfApi", Api)
    model = MAKE["image"]()
    assert model.push_to_hub("me/model", result=RESULT, token="t") == "https://hub/me/model/commit/1"  # noqa: S106
    assert seen["repo"] == ("me/model", True, True)
    assert seen["files"].keys() == {"global_model.safetensors", "README.md"}
    assert GlobalModel.from_bytes(seen["files"]["global_model.safetensors"]).predict is not None
    hub.ModelCard(seen["files"]["README.md"].decode())  # its own reader takes it


def test_the_command_says_what_it_has_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    MAKE["table"]().save("run/global_model.safetensors")
    Path("run/result.json").write_text(json.dumps(RESULT))
    assert ends(["export", "run", "--to", "torchscript", "--out", "there"]) == 0
    shown = capsys.readouterr().out
    assert f"there/model.pt: {Path('there/model.pt').stat().st_size:,} bytes" in shown
    assert "Largest difference from mosaic on 131 samples: " in shown
    assert "| accuracy | 0.7500 |" in Path("there/README.md").read_text()
    assert ends(["export", "run", "--to", "card", "--out", "there"]) == 2
    assert "there exists: choose another folder" in capsys.readouterr().err
    assert ends(["export", "run", "--to", "card", "--out", "there", "--force"]) == 0
    Path("run/result.json").write_text("[")
    assert ends(["export", "run", "--to", "card", "--out", "card"]) == 2
    assert "is no result.json" in capsys.readouterr().err


def test_samples_of_a_trial_lack_what_may_be_missing() -> None:
    samples = trial_samples(Served(MAKE["table"]()))
    assert bool(samples.only[:8, [1, 3]].isnan().all())
    assert not bool(samples.only[:, [0, 2]].isnan().any())


def ends(words: list[str]) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)
