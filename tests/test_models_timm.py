"""`timm:NAME`, with a stand-in for timm and, where it is installed, with timm itself."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build, check, own, trust

SCHEMA = image_schema((1, 8, 8), ("a", "b", "c"))


@pytest.fixture(autouse=True)
def _timm_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_packages", set())
    trust("timm")


class Stand(nn.Module):
    """A model with timm's two-part forward."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.body, self.last = nn.Conv2d(inputs, 5, 3), nn.Linear(5, classes)

    def forward_features(self, images: Tensor) -> Tensor:
        return self.body(images)

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = maps.mean((2, 3))
        return pooled if pre_logits else self.last(pooled)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A timm of two architectures; what `create_model` was given is listed."""
    seen: list[dict[str, Any]] = []

    def create_model(name: str, **options: Any) -> nn.Module:
        seen.append({"name": name, **options})
        if options["in_chans"] > 3:
            raise AssertionError("too many channels")
        return Stand(options["in_chans"], options["num_classes"])

    timm: Any = ModuleType("timm")
    timm.__version__ = "0"
    timm.list_models = lambda: ["resnet18", "vit_tiny"]
    timm.get_pretrained_cfg = lambda name: SimpleNamespace(fixed_input_size=name.startswith("vit"))
    timm.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", timm)
    return seen


def test_the_schema_sets_channels_and_classes_and_the_size_where_timm_takes_one(
    calls: list[dict[str, Any]],
) -> None:
    model = build("timm:resnet18", SCHEMA)
    batch = torch.rand(4, 1, 8, 8)
    assert model(batch).shape == (4, 3)
    assert model.features(batch).shape == (4, 5)
    assert calls[-1] == {"name": "resnet18", "pretrained": False, "in_chans": 1, "num_classes": 3}
    build("timm:vit_tiny", SCHEMA)
    assert calls[-1]["img_size"] == (8, 8)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnet19", "resnet18"),
        ("hf-hub:someone/resnet18", "resnet18"),
        ("zzz", "list_models"),
        ("", "list_models"),
    ],
)
def test_only_names_that_timm_lists_are_built(calls: list[dict[str, Any]], name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        build(f"timm:{name}", SCHEMA)
    assert calls == []


def test_images_that_an_architecture_does_not_take(calls: list[dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match=r"9×8×8 images by timm 0: AssertionError: too many channels"):
        check("timm:resnet18", image_schema((9, 8, 8), ("a", "b")))
    with pytest.raises(UsageError, match=r"cannot take images of shape \(1, 2, 2\): RuntimeError"):
        check("timm:resnet18", image_schema((1, 2, 2), ("a", "b")))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("import no_torchvision_here", r"no_torchvision_here.*mosaic-fl\[timm\]"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "torchvision must match torch"),
    ],
)
def test_a_timm_that_cannot_be_imported_names_the_extra(
    fault: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "timm.py").write_text(fault)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(UsageError, match=told):
        check("timm:resnet18", SCHEMA)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'mosaic-fl\[timm\]'"):
        check("timm:resnet18", SCHEMA)


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "mobilenetv3_small_050"])
def test_timm_itself(name: str) -> None:
    model = build(f"timm:{name}", image_schema((3, 32, 32), ("a", "b", "c"))).eval()
    batch = torch.rand(2, 3, 32, 32)
    assert model(batch).shape == (2, 3)
    assert model.features(batch).ndim == 2
