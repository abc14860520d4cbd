"""A package of somebody else adds a method, a generator, a kind of sample and a split: see `tests/outside`."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.registries import GENERATORS, KINDS, METHODS, PARTITIONS
from mosaic_fl.registry import Registry

OUTSIDE = Path(__file__).parent / "outside"
FEW = ["--clients", "2", "--models", "mlp:8", "--workers", "1", "--set", "data.max_train=200", *QUICK]


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is installed for a test: its folder is on the path, with what says its entry points."""
    monkeypatch.syspath_prepend(str(OUTSIDE))
    importlib.invalidate_caches()
    for registry in (METHODS, GENERATORS, KINDS, PARTITIONS):
        monkeypatch.setattr(registry, "_loaded", {})
    yield
    for name in [name for name in sys.modules if name.startswith("mosaic_outside")]:
        del sys.modules[name]


def test_a_method_from_outside_runs_and_is_compared(tmp_path: Path) -> None:
    mosaic("run", "--method", "largest", *FEW, "--out", "run", cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["method"], result["title"], result["models_served"]) == ("largest", "Largest client", 1)
    words = ["--methods", "largest,mean_logits", "--architectures", "equal", "--seeds", "0", "--student", "mlp:8"]
    mosaic("compare", *words, "--clients", "2", "--set", "data.max_train=200", *QUICK, "--out", "grid", cwd=tmp_path)
    rows = json.loads((tmp_path / "grid" / "table.json").read_text())["cells"]
    assert {row["method"]: row["status"] for row in rows} == {"largest": "done", "mean_logits": "done"}


def test_a_generator_and_a_split_from_outside_are_named_like_our_own(tmp_path: Path) -> None:
    mosaic("run", "--generator", "normal", "--split", "in_order", *FEW, "--out", "run", cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["samples"] == [100, 100]
    assert all("normal" in line for line in result["generators"])
    assert result["accuracy"] > 0.4  # chance is 0.1


def test_a_kind_from_outside_is_contributed_distilled_and_predicted() -> None:
    """Three classes around (3, 0, 0), (0, 3, 0) and (0, 0, 3), of which each site has two."""
    schema = Schema({"readings": KINDS["readings"](3)}, ("x", "y", "z"))
    rng = torch.Generator().manual_seed(0)

    def site(*classes: int) -> Dataset:
        labels = torch.tensor(classes).repeat(60)
        values = torch.randn(len(labels), 3, generator=rng) + 3 * torch.eye(3)[labels]
        return Dataset(Samples(schema.fields, {"readings": values}), labels, schema)

    few = {"generator.family": "normal", "train.max_steps": 60, "train.min_steps": 60, "meta.steps": 40}
    settings = few | {"distill.steps": 100, "distill.pool": 600}
    made = [
        mosaic_fl.contribute(site(*held), model="mlp:16", client=k, settings=settings)
        for k, held in enumerate([(0, 1), (1, 2)])
    ]
    received = [Contribution.from_bytes(contribution.to_bytes()) for contribution in made]
    assert received[0].schema == schema
    model = mosaic_fl.distill(received, student="mlp:16", settings=settings)
    fresh = site(0, 1, 2)
    assert model.evaluate(fresh).accuracy > 0.9


def test_a_received_name_imports_nothing() -> None:
    """Only what is built in, or was named by the user of this machine."""
    with pytest.raises(UsageError, match="unknown generator 'normal'"):
        GENERATORS.received("normal")
    assert "mosaic_outside.generator" not in sys.modules
    assert GENERATORS["normal"].conditional
    assert GENERATORS.received("normal") is GENERATORS["normal"]


def test_an_unknown_name_is_told_with_those_of_other_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert fails(capsys, "run", "--method", "largset") == "unknown run.method 'largset': did you mean largest?"


def test_a_package_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    information = tmp_path / "broken-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[mosaic_fl.methods]\nbroken = no_such_module:CARD\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match="method 'broken' of no_such_module:CARD cannot be imported: No module named"):
        METHODS["broken"]


def test_names_come_in_their_order_and_once() -> None:
    registry: Registry[object] = Registry("thing", "mosaic_fl.things", {"b": "os:sep", "a": "os:curdir"})
    registry["c"] = 3
    registry["a"] = 1
    assert list(registry) == ["b", "a", "c"]
    assert (len(registry), registry["a"], registry["c"], registry.get("d"), "b" in registry) == (3, 1, 3, None, True)
