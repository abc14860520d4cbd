"""The model that a deployed site's file names: an ONNX file beside it, or an estimator that is fitted there."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("onnx", reason="mosaic-fl[trees] is not installed")

from image_files import folder
from mosaic_fl.deploy.prepare import check_data
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.errors import UsageError
from onnx_models import constant, graph, model, node

SITE = """
client = 0
data = "pictures"
model = "{model}"
classes = ["cat", "dog"]
[server]
address = "localhost:8443"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder(tmp_path / "pictures", cat=6, dog=6)
    return tmp_path


def write(site: Path, name: str) -> Path:
    file = site / "site.toml"
    file.write_text(SITE.format(model=name))
    return file


def test_an_onnx_file_is_sought_beside_the_sites_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    nodes = [node("GlobalAveragePool", ["x"], ["p"]), node("Flatten", ["p"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    sizes = (None, 1, None, None)
    made = model(graph(nodes, [constant("w", np.zeros((1, 2)))], takes=sizes, gives=(None, 2)))
    (site / "mine.onnx").write_bytes(made.SerializeToString())
    loaded = load_site(write(site, "mine.onnx"))
    assert loaded.model == str(site / "mine.onnx")
    assert load_site(write(site, "answers:mine.onnx")).model == f"answers:{site / 'mine.onnx'}"
    check_data(loaded)


def test_a_model_that_cannot_serve_is_told_before_the_node_starts(site: Path) -> None:
    with pytest.raises(UsageError, match=r"site.toml: model names .*/nowhere.onnx, which does not exist"):
        load_site(write(site, "nowhere.onnx"))
    with pytest.raises(UsageError, match=r"site.toml: model names .*/nowhere.onnx, which does not exist"):
        load_site(write(site, "answers:nowhere.onnx"))
    (site / "text.onnx").write_text("no model")
    with pytest.raises(UsageError, match="model onnx:text-.*: the ONNX model is not ONNX, or truncated"):
        check_data(load_site(write(site, "text.onnx")))
    with pytest.raises(UsageError, match="trees '0' is not a number in 1..2000"):
        check_data(load_site(write(site, "random_forest:0")))
    check_data(load_site(write(site, "random_forest")))
