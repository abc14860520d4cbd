"""Every fault of a client in every stage of its work, and the server killed in each: real processes, TLS, keys.

`make test-faults` runs these; the same faults without processes are in test_flower_engine.py.
"""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from deployment import Deployment, deployed

pytestmark = pytest.mark.faults

QUICK = [
    word
    for setting in (
        "rounds.warm_up=1", "rounds.fine_tune=1", "rounds.steps=20", "train.max_steps=40", "train.min_steps=20",
        "generator.steps=60", "generator.width=8", "meta.steps=20", "meta.samples=200", "distill.steps=40",
        "distill.pool=400",
    )
    for word in ("--set", setting)
]  # fmt: skip
LIMIT = 60.0  # seconds of a stage: what a client is late for
LIMITS = [w for s in ("fit", "contribute", "evaluate") for w in ("--limit", f"{s}={LIMIT:.0f}")]
IID = ("--split", "iid")
FAULTS = ("killed", "late", "silent", "error", "NaN", "truncated", "oversized", "foreign")
SAID = {
    "killed": "",
    "late": "no answer within",
    "silent": "no answer within",
    "error": "a defect stopped its work",
    "NaN": "non-finite",
    "truncated": "SHA-256",
    "oversized": "are read",
    "foreign": "of another run",
}
# The stage that a fault is in, by the task that fails and the name of the stage in which it is left out.
STAGES = {
    "training": ("fit 0", "round 0"),
    "contributing": ("contribute", "contribute"),
    "fine-tuning": ("fit 1", "round 1"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_clients_that_fail_in_every_way_at_once(stage: str, tmp_path: Path) -> None:
    """Two good clients and one for each fault; and one more site that calls itself by a number that is taken."""
    task, name = STAGES[stage]
    clients = 2 + len(FAULTS)
    extra = (*LIMITS, "--min-clients", "2", "--max-answer", "4")
    with deployed(tmp_path, clients, settings=QUICK, extra=extra, data=IID) as run:
        run.site(0, number=1, name="twin")
        sabotage = {2 + k: f"{task}:{fault}" for k, fault in enumerate(FAULTS)}
        run.start_server()
        run.start_clients(sabotage, late=LIMIT + 30)
        run.wait_for(lambda: run.events("joined", client=1), 180)
        run.start_client("twin")
        code, said = run.finish(900)
        assert code == 0, said
        result = run.result()
        left = {one["client"]: one["reason"] for one in result["left_out"] if one["stage"] == name}
        assert set(left) == set(range(2, clients)), left
        for client, fault in enumerate(FAULTS, 2):
            assert SAID[fault] in left[client], (fault, left[client])
        assert any("has another key" in e["facts"]["reason"] for e in run.events("refused"))
        assert result["accuracy"] > 0.2


KILLED_AT = {
    "joining": ("joined", {}),
    "training": ("asked", {"stage": "round 0"}),
    "contributing": ("received", {"stage": "contribute"}),
    "distilling": ("stage_progress", {}),
    "fine-tuning": ("asked", {"stage": "round 1"}),
    "delivering": ("asked", {"stage": "deliver"}),
}


@pytest.mark.parametrize("stage", KILLED_AT)
def test_the_server_killed_and_resumed_ends_with_the_same_model(stage: str, tmp_path: Path) -> None:
    """Finished clients are not asked again, and the model is the one of an undisturbed run."""
    kind, facts = KILLED_AT[stage]
    with deployed(tmp_path, 3, settings=QUICK, data=IID) as run:
        run.start_server()
        run.start_clients()
        run.wait_for(lambda: run.events(kind, **facts), 240)
        run.kill("server")
        received = {e["client"] for e in run.events("received", stage="contribute")}
        begun = time.time()
        run.start_server("--resume")
        code, said = run.finish(600)
        assert code == 0, said
        again = {e["client"] for e in run.events("asked", stage="contribute") if e["time"] > begun}
        assert not (received & again)
        assert run.result()["left_out"] == []
        resumed = (tmp_path / "run" / "global_model.safetensors").read_bytes()
        assert resumed == undisturbed(tmp_path / "local", run)


def undisturbed(folder: Path, run: Deployment) -> bytes:
    """The global model of the same run on the local engine."""
    from deployment import command

    words = ("run", "--clients", str(run.clients), *run.data, "--models", run.models[0], *run.settings)
    command(*words, "--out", folder, cwd=run.folder)
    return (folder / "global_model.safetensors").read_bytes()


def test_a_client_killed_while_training_and_started_again(tmp_path: Path) -> None:
    """Its node and all below are killed; it comes back, is asked again, and the run ends with everybody."""
    slow = [*QUICK, "--set", "generator.steps=1500"]
    with deployed(tmp_path, 3, settings=slow, data=IID) as run:
        run.start_server()
        run.start_clients()
        run.wait_for(lambda: list((tmp_path / "site-1" / "work").rglob("contribute-*.classifier")), 240)
        run.kill("site-1")
        run.start_client("site-1")
        code, said = run.finish(600)
        assert code == 0, said
        assert run.result()["left_out"] == []
        assert run.events("returned", client=1) or len(run.events("joined", client=1)) == 2
        log = json.dumps(run.events("received", client=1, stage="contribute"))
        assert log != "[]"


def test_a_client_whose_template_was_killed_is_asked_again(tmp_path: Path) -> None:
    """What its messages' processes are forked from: its node ends and comes back."""
    with deployed(tmp_path, 2, settings=QUICK, extra=LIMITS, data=IID) as run:
        run.start_server()
        run.start_clients()
        run.wait_for(lambda: run.events("joined", client=1))
        os.kill(run.template("site-1"), signal.SIGKILL)
        code, said = run.finish(600)
        assert code == 0, said
        assert run.result()["left_out"] == []
        assert "the template is gone" in run.log("site-1")


def test_contributions_of_250_megabytes(tmp_path: Path) -> None:
    """They travel in pieces and arrive whole: two classifiers of 62 million weights."""
    changes = ("rounds.warm_up=0", "rounds.fine_tune=0", "train.max_steps=5", "train.min_steps=5")
    more = ("generator.family=none", "distill.prior=procedural", "models.student=mlp:16")
    settings = [*QUICK, *(word for change in (*changes, *more) for word in ("--set", change))]
    with deployed(tmp_path, 2, settings=settings, data=IID, models=("mlp:7800:2",)) as run:
        run.start_server()
        run.start_clients()
        code, said = run.finish(900)
        assert code == 0, said
        assert min(run.result()["bytes_up"]) > 240e6
        kept = tmp_path / "run" / "contributions" / "client-001.contribution"
        sent = next((tmp_path / "site-1" / "work").rglob("contribute-*.answer"))
        assert sent.read_bytes().endswith(kept.read_bytes())
