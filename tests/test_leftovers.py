"""What is on the disk when a run has ended: nothing of a client but what is named here, and in docs/privacy.md."""

from pathlib import Path

import pytest

from command import QUICK, mosaic
from mosaic_fl.config import Config
from mosaic_fl.deploy import server
from mosaic_fl.deploy.leftovers import clear
from mosaic_fl.deploy.plan import ServerPlan
from mosaic_fl.errors import MosaicError
from mosaic_fl.storage.container import read_bytes
from mosaic_fl.storage.encryption import is_encrypted
from mosaic_fl.storage.folder_lock import vacate
from mosaic_fl.storage.keys import make_key

FEW = [
    word
    for setting in ("train.max_steps=5", "train.min_steps=5", "generator.steps=5", "generator.width=4")
    for word in ("--set", setting)
]
FIGURES = {"config.toml", "inputs.json", "metrics.jsonl", "report.html", "result.json", "global_model.safetensors"}
PICTURES = {f"pictures/{name}.png" for name in ("accuracy", "samples", "split")}
GENERATED = "pictures/generated.json"
SENT = {f"contributions/client-00{k}.contribution" for k in range(2)}


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    mosaic("run", "--clients", "2", "--models", "mlp:4", "--student", "mlp:4", *QUICK, *FEW, "--out", "run", cwd=place)
    vacate()
    return place


def test_an_ended_simulation_leaves_its_contributions_and_no_stage(run: Path) -> None:
    assert files(run / "run") == FIGURES | PICTURES | SENT | {GENERATED, "notes.json"}


def test_an_ended_distillation_leaves_nothing_of_a_client(run: Path) -> None:
    sent = sorted(f"run/{name}" for name in SENT)
    mosaic("distill", *sent, "--student", "mlp:4", *QUICK, "--out", "global", cwd=run)
    vacate()
    assert files(run / "global") == FIGURES | {"sources.json", GENERATED}
    mosaic("distill", *sent, "--student", "mlp:4", *QUICK, "--out", "stages", "--keep-stages", cwd=run)
    vacate()
    assert {name.partition("/")[0] for name in files(run / "stages")} == {
        *{name.partition("/")[0] for name in FIGURES}, "sources.json", "stages", "pictures"
    }  # fmt: skip


@pytest.fixture
def plan(tmp_path: Path) -> ServerPlan:
    """A deployed run that has ended, with all that clients sent."""
    for name in ("flower/state.db", "flower/state.db-wal", "stages/client-000.safetensors", *SENT):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return ServerPlan(Config(), tmp_path, 2, 2, "127.0.0.1", 1)


def test_an_ended_deployment_leaves_its_contributions_alone(plan: ServerPlan) -> None:
    clear(plan)
    assert files(plan.out) == SENT


def test_contributions_of_an_ended_deployment_are_encrypted_once(plan: ServerPlan, tmp_path: Path) -> None:
    key = tmp_path.with_suffix(".key")
    sealed = ServerPlan(plan.config, plan.out, 2, 2, "127.0.0.1", 1, readers=(make_key(key),))
    clear(sealed)
    before = {name: (plan.out / name).read_bytes() for name in SENT}
    assert all(map(is_encrypted, before.values()))
    assert {name: read_bytes(plan.out / name, key) for name in SENT} == {name: name.encode() for name in SENT}
    clear(sealed)
    assert {name: (plan.out / name).read_bytes() for name in SENT} == before


def test_a_server_that_fails_keeps_what_a_resume_needs_and_no_database(
    plan: ServerPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MosaicError("the hub is gone")

    monkeypatch.setattr(server, "check_plan", lambda _: {})
    monkeypatch.setattr(server, "claim", lambda *_, **__: None)
    monkeypatch.setattr(server, "_write", lambda *_: None)
    monkeypatch.setattr(server, "_start", fail)
    with pytest.raises(MosaicError, match="the hub is gone"):
        server.serve(plan, resume=True, force=False)
    vacate()
    assert files(plan.out) == {*SENT, "stages/client-000.safetensors"}
