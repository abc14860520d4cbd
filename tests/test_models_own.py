"""A user's own models: how they come in, what is told of those that do not fit, and their features."""

import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models import build, check, own, trust
from mosaic_fl.models.classifier import Classifier, Wrapper

SCHEMA = image_schema((1, 8, 8), ("a", "b", "c"))
BATCH = torch.linspace(-1, 1, 5 * 64).view(5, 1, 8, 8)


class Net(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.last = nn.Linear(width, 3)  # registered before what runs before it
        self.first = nn.Linear(64, width)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images.flatten(1)).relu())


def for_schema(schema: Schema) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, schema.num_classes))


def two_numbers(width: int, depth: int) -> nn.Module:
    raise AssertionError("never called")


@pytest.fixture(autouse=True)
def _nothing_trusted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_own", {})


def refused(factory: Callable[..., object]) -> str:
    """What the user is told of this factory."""
    name = trust(factory)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as error:
        build(name, SCHEMA)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "factory",
    [
        Net,
        for_schema,
        lambda: Net(2),
        lambda schema, /: for_schema(schema),
        lambda *, schema: for_schema(schema),
        lambda width=4, schema=None: for_schema(schema),
        lambda *args, **kwargs: Net(*args, **kwargs),
        partial(Net, 9),
        partial(for_schema, schema=SCHEMA),
    ],
)
def test_a_factory_takes_nothing_or_the_schema(factory: Callable[..., nn.Module]) -> None:
    name = trust(factory)
    check(name, SCHEMA)
    assert build(name, SCHEMA)(BATCH).shape == (5, 3)


def test_a_name_says_where_a_factory_was_defined() -> None:
    assert trust(Net) == f"{__name__}:Net"
    assert trust(Net) == f"{__name__}:Net"
    assert trust(for_schema) == f"{__name__}:for_schema"
    assert trust("mlp:64") == "mlp:64"
    assert trust(f"{__name__}:Net") == f"{__name__}:Net"


def test_factories_that_share_a_name_are_numbered() -> None:
    def make(width: int) -> Callable[[], nn.Module]:
        return lambda: Net(width)

    narrow, wide = make(2), make(9)
    names = [trust(narrow), trust(wide), trust(narrow)]
    assert names[0].endswith("<lambda>#1")
    assert names[1].endswith("<lambda>#2")
    assert names[2] == names[0]
    assert [build(name, SCHEMA).features(BATCH).shape[1] for name in names] == [2, 9, 2]
    assert trust(partial(Net, 2)) == f"{__name__}:Net#1"


def test_a_class_defined_again_in_main_takes_the_place_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for width in (2, 9):

        def start(self: Net, width: int = width) -> None:
            Net.__init__(self, width)

        again = type("Again", (Net,), {"__module__": "__main__", "__init__": start})
        monkeypatch.setattr(sys.modules["__main__"], "Again", again, raising=False)
        name = trust(again)
        assert name == "__main__:Again"
        assert build(name, SCHEMA).features(BATCH).shape == (5, width)


def test_an_import_path_is_imported_by_trust_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets.py").write_text("from test_models_own import Net\nclass Box:\n    make = Net\n")
    monkeypatch.setitem(sys.modules, "test_models_own", sys.modules[__name__])
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="trust"):
        build("own_nets:Box.make", SCHEMA)
    assert "own_nets" not in sys.modules
    name = trust("own_nets:Box.make")
    monkeypatch.delitem(sys.modules, "own_nets")
    assert build(name, SCHEMA)(BATCH).shape == (5, 3)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("no_such_package.nets:make", "PYTHONPATH"),
        ("math:no_such_thing", "no_such_thing"),
        ("math:pi", "float cannot be called"),
        (f"{__name__}:two_numbers", "needs width, depth"),
        ("antigravity_:x", "No module named 'antigravity_'"),
    ],
)
def test_an_import_path_that_leads_nowhere(spec: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        trust(spec)


def test_a_module_that_fails_while_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_nets.py").write_text("def make(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="SyntaxError"):
        trust("broken_nets:make")


def test_one_module_is_no_factory() -> None:
    with pytest.raises(UsageError, match="is a module: give its class"):
        trust(Net())
    shared = Net()
    assert "one module twice" in refused(lambda: shared)


def test_what_a_factory_raises_is_told() -> None:
    def wrong() -> nn.Module:
        raise TypeError("made by hand\nsecond line")

    assert "called with nothing: TypeError: made by hand" in refused(wrong)
    assert "called with the schema: " in refused(lambda width: nn.Linear(width, 3))
    assert "returned dict, not an nn.Module" in refused(lambda: {})


def test_outputs_that_do_not_fit_are_told_with_their_shape() -> None:
    class Pair(Net):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return images, images

    class Flat(Classifier):
        def features(self, images: Tensor) -> Tensor:
            return images

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :3]

    assert "a tensor (2, 4) for 2 images" in refused(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)))
    assert "a tensor (2, 1, 8, 3)" in refused(lambda: nn.Linear(8, 3))
    assert "a tuple" in refused(Pair)
    assert "a tensor (2, 1, 8, 8) for 2 images, not features" in refused(Flat)
    assert "cannot take images of shape (1, 8, 8): RuntimeError" in refused(lambda: nn.Conv2d(3, 3, 1))


@pytest.mark.parametrize("kind", [torch.int32, torch.float64])
def test_tensors_of_a_type_that_is_not_sent_are_told_before_any_training(kind: torch.dtype) -> None:
    class Keeps(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("grid", torch.zeros(3, dtype=kind))

    assert f"keeps 'module.grid' as {kind}, which is not sent: take one of torch.float32" in refused(Keeps)


def test_what_cannot_run_on_the_meta_device_is_checked_on_the_cpu() -> None:
    class Reads(Net):
        def __init__(self) -> None:
            super().__init__(int(torch.tensor(5).item()))

        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) / images.abs().max().clamp(min=1).item()

    name = trust(Reads)
    state = torch.get_rng_state()
    check(name, SCHEMA)
    assert torch.equal(torch.get_rng_state(), state)
    assert build(name, SCHEMA)(BATCH).shape == (5, 3)
    with torch.device("meta"):
        assert build(name, SCHEMA).state_dict()["module.last.weight"].is_meta


def test_lazy_layers_get_their_shapes() -> None:
    model = build(trust(lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3))), SCHEMA)
    assert model.training
    assert [tuple(p.shape) for p in model.parameters()] == [(3, 64), (3,)]


def test_features_are_what_enters_the_last_linear_layer_that_runs() -> None:
    model = Wrapper(Net())
    net = model.module
    assert isinstance(net, Net)
    assert torch.equal(model.features(BATCH), net.first(BATCH.flatten(1)).relu())
    assert torch.equal(net.last(model.features(BATCH)), model(BATCH))
    assert not any(layer._forward_pre_hooks for layer in net.modules())


def test_without_a_linear_layer_the_logits_are_the_features() -> None:
    model = Wrapper(nn.Sequential(nn.Conv2d(1, 3, 8), nn.Flatten()))
    assert torch.equal(model.features(BATCH), model(BATCH))


def test_a_copy_has_features_of_its_own() -> None:
    model = Wrapper(Net())
    twin = copy.deepcopy(model)
    before = model.features(BATCH)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(twin.features(BATCH), torch.zeros(5, 6))
    assert torch.equal(model.features(BATCH), before)
