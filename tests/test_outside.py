"""A package of somebody else adds a method, a generator, kinds of samples and experts, a split: see `tests/outside`."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution, no_prototypes
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.registries import EXPERTS, GENERATORS, KINDS, METHODS, PARTITIONS
from mosaic_fl.registry import Registry

OUTSIDE = Path(__file__).parent / "outside"
FEW = ["--clients", "2", "--models", "mlp:8", "--workers", "1", "--set", "data.max_train=200", *QUICK]


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is installed for a test: its folder is on the path, with what says its entry points."""
    monkeypatch.syspath_prepend(str(OUTSIDE))
    importlib.invalidate_caches()
    yield
    for registry in (METHODS, GENERATORS, KINDS, PARTITIONS, EXPERTS):
        registry.forget()
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


MIXED = [
    "--clients",
    "2",
    "--models",
    "mlp:8,nearest_mean",
    "--student",
    "mlp:8",
    "--set",
    "data.max_train=400",
    *QUICK,
]


def test_an_expert_from_outside_is_distilled_with_networks(tmp_path: Path) -> None:
    """Of digits, the nearest class mean alone gets nine of ten right; it has no weights, features or gradients."""
    mosaic("run", *MIXED, "--split", "iid", "--workers", "1", "--out", "run", cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["models"] == ["mlp:8", "nearest_mean"]
    assert result["local_accuracy"][1] > 0.8
    assert result["teacher_accuracy"] > 0.7  # chance is 0.1
    assert result["accuracy"] > 0.2  # after 100 steps


def test_what_an_expert_cannot_do_is_told_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--models", "nearest_mean", "--student", "mlp:8"]
    asked = "and model 'nearest_mean' has none: give its client a network, as cnn:16, or choose a method that lives on"
    for more, who in [
        (["--method", "dense"], "DENSE needs gradients with respect to samples"),
        (["--method", "best_local"], "Best local model needs weights that can be averaged and trained on"),
        (["--rounds", "2"], "averaging (rounds.warm_up, rounds.fine_tune) needs weights that can be averaged"),
        (["--generator", "dcgan"], "generator dcgan needs gradients with respect to samples"),
    ]:
        line = fails(capsys, *words, *more)
        assert line.startswith(who)
        assert asked in line
    line = fails(capsys, "run", "--models", "mlp:8", "--student", "nearest_mean")
    assert line == "model 'nearest_mean' is no network, which is needed here: take one, as cnn:16"


def test_a_received_expert_is_read_where_its_kind_is_let_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = image_schema((1, 4, 4), ("dark", "light"))
    images = torch.cat([torch.zeros(40, 1, 4, 4), torch.full((40, 1, 4, 4), 255)]).to(torch.uint8)
    labels = torch.arange(80) // 40
    made = mosaic_fl.contribute(
        image_dataset(images, labels, schema), model="nearest_mean", client=0, settings={"generator.steps": 200}
    )
    (tmp_path / "0.contribution").write_bytes(made.to_bytes())
    EXPERTS.forget()  # as at a server that never heard of it
    words = ["distill", str(tmp_path / "0.contribution"), "--student", "mlp:8", *QUICK]
    line = fails(capsys, *words, "--out", str(tmp_path / "global"))
    assert line.endswith("of a package that is imported only where you let it in: name it with --trust nearest_mean")
    mosaic(*words, "--trust", "nearest_mean", "--out", "global", cwd=tmp_path)
    model = GlobalModel.load(tmp_path / "global")
    assert model.predict(images).tolist() == labels.tolist()


def test_a_state_that_is_no_expert_is_refused() -> None:
    """Its kind says what fits; whatever it answers must be finite."""
    schema = image_schema((1, 4, 4), ("dark", "light"))
    EXPERTS["nearest_mean"]
    means = torch.zeros(2, 16)
    counts, held = torch.tensor([3, 3]), torch.tensor([True, True])
    for learnt, said in [
        ({"means": means[:, :5], "held": held}, "these are not the class means of such samples"),
        ({"means": means + 1e30, "held": held}, "its expert gives non-finite outputs"),
    ]:
        sent = Contribution(0, schema, "nearest_mean", learnt, counts, no_prototypes(), {}).to_bytes()
        with pytest.raises(UsageError, match=said):
            Contribution.from_bytes(sent)


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
