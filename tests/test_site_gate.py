"""A site's own gate: no server lowers it, and what cannot be audited does not leave where it refuses."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.client.custody import ANSWER, CONTRIBUTION, JUDGEMENT, ROUND, Custody
from mosaic_fl.config import Config
from mosaic_fl.config.audit import AuditConfig
from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.errors import GateError, RefusalError, UsageError
from mosaic_fl.exchange.query import Query
from mosaic_fl.storage.chain import read_chain
from test_site_limits import check, site, vectors

REFUSE = SiteLimits(gate="refuse")


@pytest.mark.parametrize(
    ("own", "wish", "gate"),
    [
        ("off", "off", "off"), ("off", "auto", "auto"), ("off", "refuse", "refuse"), ("warn", "off", "warn"),
        ("warn", "auto", "warn"), ("warn", "refuse", "refuse"), ("refuse", "off", "refuse"),
        ("refuse", "warn", "refuse"), ("refuse", "auto", "refuse"),
    ],
)  # fmt: skip
def test_the_stricter_gate_holds(own: Any, wish: Any, gate: str) -> None:
    assert SiteLimits(gate=own).audit(AuditConfig(gate=wish)).gate == gate


def test_of_each_limit_the_stricter_holds() -> None:
    """min(0.9, 0.6), min(0.55, 0.65); a short audit would find less, so it takes 20 s at least."""
    found = REFUSE.audit(AuditConfig(gate="warn", limit=0.9, small_limit=0.55, seconds=0.01))
    assert (found.limit, found.small_limit, found.seconds) == (0.6, 0.55, 20)
    lax = AuditConfig(limit=0.9, seconds=0.01)
    assert SiteLimits().audit(lax) == lax


def test_what_no_audit_sees_is_refused() -> None:
    with pytest.raises(RefusalError, match=r"limits\.gate = refuse, and no audit sees what a round sends"):
        check(REFUSE, {"audit.gate": "off"}, ROUND)
    for kind in (CONTRIBUTION, ANSWER):
        with pytest.raises(RefusalError, match=r"limits\.gate = refuse, and no audit sees what a black box answers"):
            check(REFUSE, {}, kind, site(model="answers"))
    for kind in (CONTRIBUTION, JUDGEMENT):
        check(REFUSE, {}, kind)
    check(SiteLimits(gate="warn"), {}, ROUND)
    check(REFUSE, {"privacy.epsilon": 1.0, "privacy.clip": 6.0}, ROUND)  # refused elsewhere; noise needs no audit


def test_a_simulation_has_no_gate_of_a_site() -> None:
    config = Config().with_values({"audit.gate": "off"})
    assert Custody().with_gate(config) == config
    assert Custody().demand == Custody(SiteLimits()).demand == ""
    assert Custody(REFUSE).demand != Custody(SiteLimits(gate="refuse", auc=0.55)).demand


def test_a_deployed_site_keeps_what_its_audit_refuses_whatever_the_server_says(tmp_path: Path) -> None:
    """Thirty samples cannot be audited, so nothing leaves; nor does what was made before the gate was set."""
    pytest.importorskip("flwr", reason="the flower extra is not installed")
    from dataclasses import replace

    from mosaic_fl.engines.tasks import ContributeTask, FitTask
    from mosaic_fl.exchange.federation import FitJob
    from mosaic_fl.models import build
    from mosaic_fl.numerics.states import copy_state
    from test_site_custody import ask, desk, events

    wish = {"audit__gate": "off"}
    place = desk(tmp_path)
    place = replace(place, site=lambda: site(vectors(30)))
    assert ask(place, ContributeTask(0), **wish).body
    gated = replace(place, custody=replace(place.custody, limits=REFUSE))
    answer = ask(gated, ContributeTask(0), **wish)
    assert answer.reason == "its own audit does not let its contribution leave: see its log"
    assert not answer.body
    last = events(tmp_path)[-1]
    assert last["event"] == "refused"
    assert "was not audited" in last["reason"]
    state = copy_state(build("mlp:4", vectors().schema))
    fit = FitTask(FitJob(0, "mlp:4", state, {"max_steps": 4}), 0)
    assert "no audit sees what a round sends" in ask(gated, fit, **wish).reason


def test_a_deployed_site_that_warns_says_in_its_log_what_left(tmp_path: Path) -> None:
    pytest.importorskip("flwr", reason="the flower extra is not installed")
    from mosaic_fl.engines.tasks import ContributeTask
    from test_site_custody import ask, desk, events

    assert ask(desk(tmp_path, SiteLimits(gate="warn")), ContributeTask(0), audit__gate="off").body
    assert "was not audited: fewer than 20" in events(tmp_path)[-1]["audit"]


def test_the_command_keeps_to_the_gate_of_its_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = vectors(30)
    np.savez(tmp_path / "d.npz", features=data.samples.only.numpy(), labels=data.labels.numpy())
    (tmp_path / "own.toml").write_text('[limits]\ngate = "refuse"\n')
    few = ["--set", "train.max_steps=4", "--set", "train.min_steps=2", "--set", "audit.gate=off", "--generator", "none"]
    command = ["contribute", "--data", str(tmp_path / "d.npz"), "--classes", "3", "--client", "0", "--model", "mlp:4"]
    command += ["--out", str(tmp_path / "a.contribution"), "--limits", str(tmp_path / "own.toml"), *few]
    assert "nothing leaves: the contribution was not audited" in fails(capsys, *command, code=1)
    assert not (tmp_path / "a.contribution").exists()
    log = tmp_path / "log.jsonl"
    mosaic(*command, "--accept-risk", "a test", "--log", str(log), cwd=tmp_path)
    assert "; it was not audited" in mosaic("audit-log", "show", str(log), cwd=tmp_path)
    assert mosaic_fl.Contribution.load(tmp_path / "a.contribution").audit is not None


def test_in_python_a_site_has_limits_and_a_log_too(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[limits]\ncontributions = 1\nexpert = true\n")
    log = tmp_path / "log.jsonl"
    settings = {"train.max_steps": 4, "train.min_steps": 2, "generator.family": "none"}

    def contribute(**more: Any) -> mosaic_fl.Contribution:
        return mosaic_fl.contribute(vectors(30), model="mlp:4", client=0, settings=settings, **more)

    made = contribute(limits=own, log=str(log))
    read, sent = read_chain(log).entries
    assert (read.values["event"], sent.values["event"]) == ("read", "sent")
    assert sent.values["content"] == hashlib.sha256(made.to_bytes()).hexdigest()
    with pytest.raises(RefusalError, match=r"limits\.contributions = 1, and so many have left"):
        contribute(limits=own, log=log)
    contribute(log=log)  # without limits it is written, and nothing is refused
    own.write_text('[limits]\ngate = "refuse"\n')
    with pytest.raises(GateError, match="nothing leaves"):
        contribute(limits=own, log=log)
    for wrong, words in (({"limits": own}, "give log="), ({"limits": 3, "log": log}, "limits=3: it is the path")):
        with pytest.raises(UsageError, match=words):
            contribute(**wrong)


def test_an_answer_by_a_file_is_counted_and_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[limits]\nqueries = 1\n")
    schema = vectors().schema
    for k in (1, 2):
        (tmp_path / f"{k}.query").write_bytes(Query(0, k, schema, vectors(6, seed=k).samples).content)
    (tmp_path / "p.csv").write_text("0,1,2\n" + "0.2,0.3,0.5\n" * 6)

    def words(k: int, *more: str) -> list[str]:
        files = ["--model", str(tmp_path / "p.csv"), "--out", str(tmp_path / f"{k}.answer")]
        return ["answer", str(tmp_path / f"{k}.query"), *files, "--limits", str(own), *more]

    log = ["--log", str(tmp_path / "log.jsonl")]
    assert "give --log FILE, too" in fails(capsys, *words(1))
    mosaic(*words(1, *log), cwd=tmp_path)
    line = fails(capsys, *words(2, *log))
    assert "own.toml: limits.queries = 1, and so many have left" in line
    assert not (tmp_path / "2.answer").exists()
    own.write_text('[limits]\ngate = "refuse"\n')
    assert "no audit sees what a black box answers" in fails(capsys, *words(2, *log))
    assert "sent an answer to" in mosaic("audit-log", "show", log[1], cwd=tmp_path)


def test_a_site_s_file_takes_the_gate(tmp_path: Path) -> None:
    pytest.importorskip("flwr", reason="the flower extra is not installed")
    from mosaic_fl.engines.flower.site import load_site

    (tmp_path / "d.parquet").write_bytes(b"")
    text = 'client = 0\ndata = "d.parquet"\nmodel = "mlp:4"\n[server]\naddress = "localhost:9"\n[limits]\n'
    (tmp_path / "site.toml").write_text(text + 'gate = "refuse"\nauc = 0.55\n')
    assert load_site(tmp_path / "site.toml").limits.audit(AuditConfig()).limit == 0.55
    (tmp_path / "site.toml").write_text(text + 'gate = "no"\n')
    with pytest.raises(UsageError, match=r"limits\.gate is 'no', but it should be 'off', 'warn' or 'refuse'"):
        load_site(tmp_path / "site.toml")
