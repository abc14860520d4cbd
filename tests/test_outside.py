"""A package of somebody else adds a method, a generator, a kind of sample and a split: see `tests/outside`."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import mosaic_fl
from command import ENVIRONMENT, QUICK, fails, finish, mosaic, start
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.forecast.foresee import foresee_contribution
from mosaic_fl.registries import GENERATORS, KINDS, METHODS, name_generator
from mosaic_fl.registry import Registry
from mosaic_fl.training.monitor import Recorder

OUTSIDE = Path(__file__).parent / "outside"
pytestmark = pytest.mark.usefixtures("outside")
WAY = 'say --set generator.family=normal, or generator = "normal" in the site\'s file'
FEW = ["--clients", "2", "--models", "mlp:8", "--workers", "1", "--set", "data.max_train=200", *QUICK]


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
    with pytest.raises(UsageError, match="samples of the kind readings, and arrays are images: give a Dataset"):
        model.predict(torch.zeros(2, 3))


def test_a_kind_in_memory_is_named_by_who_has_it() -> None:
    """Its class was imported by its user, and not by the name of its entry point; so may one that has none."""
    from mosaic_outside.kind import Readings  # type: ignore[import-not-found]

    class Sensors(Readings):  # type: ignore[misc]
        name: ClassVar[str] = "sensors"

        @classmethod
        def from_json(cls, value: object) -> "Sensors":
            assert isinstance(value, dict)
            return cls(value["sensors"])

    labels = torch.arange(2).repeat(50)
    few = {"partition.clients": 2, "run.workers": 1, "models.student": "mlp:4", "train.max_steps": 3, "rounds.steps": 3}
    for kind in (Readings(3), Sensors(3)):
        schema = Schema({kind.name: kind}, ("x", "y"))
        data = Dataset(Samples(schema.fields, {kind.name: torch.zeros(100, 3)}), labels, schema)
        model = mosaic_fl.run("fedavg", data, settings=few).model
        assert model is not None
        assert model.schema.fields == schema.fields
        with pytest.raises(UsageError, match="makes images at the server, and these samples are 3 readings"):
            mosaic_fl.run("dense", data, settings=few | {"synthesis.epochs": 1})
        with pytest.raises(UsageError, match="generator cvae draws samples of the kind image, not .*family"):
            mosaic_fl.contribute(data, model="mlp:4", client=0, settings={"train.max_steps": 3})


def test_a_received_name_imports_nothing() -> None:
    """Only what is built in, or was named by the user of this machine."""
    with pytest.raises(UsageError, match="'normal' is of another package, .* here: say --set generator.family=normal"):
        GENERATORS.received("normal")
    with pytest.raises(UsageError, match="unknown generator 'nromal'"):
        GENERATORS.received("nromal")
    assert "mosaic_outside.generator" not in sys.modules
    assert GENERATORS["normal"].conditional
    assert GENERATORS.received("normal") is GENERATORS["normal"]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """`mosaic` as a process of its own, which has named nothing yet and finds the package."""
    path = os.pathsep.join([str(OUTSIDE), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", path)
    return lambda *words: finish(start(*words, cwd=tmp_path))


def test_a_file_s_generator_is_named_at_the_server(
    tmp_path: Path,
    elsewhere: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mosaic("data", "--export", "sites", "--clients", "2", "--set", "data.max_train=200", cwd=tmp_path)
    files = []
    for client in range(2):
        files.append(tmp_path / f"{client}.contribution")
        words = ["--data", f"sites/client-{client:03d}.parquet", "--client", str(client), "--out", files[-1].name]
        mosaic("contribute", "--model", "mlp:8", "--generator", "normal", *words, *QUICK, cwd=tmp_path)
    monkeypatch.setattr(GENERATORS, "_entries", {})
    message = fails(capsys, "distill", *files, "--out", tmp_path / "refused")
    assert message.endswith(WAY), message
    elsewhere("distill", *files, "--student", "mlp:8", "--set", "generator.family=normal", *QUICK, "--out", "global")
    assert json.loads((tmp_path / "global" / "result.json").read_text())["clients"] == 2


def test_a_run_of_several_processes_names_it_in_each(elsewhere: Callable[..., str], tmp_path: Path) -> None:
    """The workers make contributions, and this process reads them."""
    few = ["--clients", "2", "--student", "mlp:8", "--set", "data.max_train=200", *QUICK]
    elsewhere("run", "--method", "mean_logits", "--generator", "normal", "--workers", "2", *few, "--out", "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["models_served"] == 2
    few += ["--methods", "mean_logits", "--architectures", "equal", "--seeds", "0", "--set", "run.workers=2"]
    elsewhere("compare", *few, "--set", "mean_logits:generator.family=normal", "--out", "grid")
    assert json.loads((tmp_path / "grid" / "table.json").read_text())["cells"][0]["status"] == "done"


def test_the_forecast_asks_the_family_what_it_would_train(digits: Dataset) -> None:
    """Also in a process that has named it nowhere yet, and whatever the family's latent is."""
    values = {"generator.family": "normal", "train.max_steps": 5, "prototypes.per_class": 0}
    config, site = Config().with_values(values), Site(0, digits.subset(range(200)), "mlp:8")
    cpu = torch.device("cpu")
    foreseen = foresee_contribution(site, config, cpu)
    assert foreseen is not None
    made = contribute(site, config, cpu, lambda stage: Recorder())
    assert made.generator_spec == GENERATORS["normal"].spec(config.generator, made.schema)
    assert foreseen.up == pytest.approx(len(made.to_bytes()), rel=0.02)


def test_a_server_lets_a_site_import_nothing(tmp_path: Path) -> None:
    pytest.importorskip("flwr", reason="the flower extra is not installed")
    from mosaic_fl.engines.flower.codec import decode, encode
    from mosaic_fl.engines.flower.site import load_site
    from mosaic_fl.engines.tasks import ContributeTask

    asked = encode(ContributeTask(0), Config().with_values({"generator.family": "normal"}))
    with pytest.raises(UsageError, match=f"^request: .*{WAY}$"):
        decode("contribute", asked, 0)
    assert "mosaic_outside.generator" not in sys.modules
    (tmp_path / "data").mkdir()
    lines = ["client = 0", 'data = "data"', 'model = "mlp:4"', 'generator = "normal"', "[server]", 'address = "a:1"']
    (tmp_path / "site.toml").write_text("\n".join(lines))
    assert load_site(tmp_path / "site.toml").generator == "normal"
    (tmp_path / "wrong.toml").write_text("\n".join(lines).replace("normal", "nromal"))
    with pytest.raises(UsageError, match="wrong.toml: unknown generator 'nromal': did you mean normal"):
        load_site(tmp_path / "wrong.toml")
    name_generator("normal")
    assert decode("contribute", asked, 0)[1].generator.family == "normal"


def test_a_simulation_s_clients_name_it_themselves() -> None:
    """They are one machine's, whose user has named it; each of Ray's processes makes its clients anew."""
    pytest.importorskip("ray", reason="the flower extra is not installed")
    from mosaic_fl.engines.flower.simulation import VirtualDesk

    values = {"generator.family": "normal", "data.max_train": 200, "partition.clients": 2, "models.clients": ["mlp:4"]}
    desk = VirtualDesk(Config().with_values({**values, "models.student": "mlp:4"}).model_dump(mode="json"))
    assert desk({"partition-id": 1}).site().client == 1
    assert GENERATORS.received("normal").conditional


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
