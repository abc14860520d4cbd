"""A deployed site: each request is checked by its own limits, and each answer is in its log before it leaves."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("flwr", reason="the flower extra is not installed")

from mosaic_fl.client.budget import Spending, spending
from mosaic_fl.client.contribute import Site
from mosaic_fl.client.custody import Custody
from mosaic_fl.config import Config
from mosaic_fl.config.privacy import PrivacyConfig
from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.engines.flower import codec
from mosaic_fl.engines.flower.client import HELLO, Desk
from mosaic_fl.engines.flower.leaving import KINDS
from mosaic_fl.engines.flower.site import load_site
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.engines.tasks import BoostTask, ContributeTask, EvaluateTask, FitTask
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, SumJob
from mosaic_fl.experts.ensemble import empty, to_state
from mosaic_fl.models import build
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.storage.chain import read_chain
from test_private_contribution import CPU, clouds

OWN = PrivacyConfig(epsilon=2.0, delta=1e-6, clip=6.0)
FEW = {"train.max_steps": 4, "train.min_steps": 2, "generator.family": "none"}


def desk(folder: Path, limits: SiteLimits | None = None, model: str = "mlp:4", seed: int = 0, **more: Any) -> Desk:
    site = Site(0, clouds(60, seed), model)
    custody = Custody(limits or SiteLimits(), folder / "log.jsonl", "/data/ward", "server:1")
    return Desk(0, lambda: site, CPU, folder / "site", custody=custody, **more)


def ask(place: Desk, work: codec.Work, run: str = "run", **wish: Any) -> Answer:
    values = FEW | {name.replace("__", "."): value for name, value in wish.items()}
    body = codec.encode(work, Config().with_values(values))
    return place.answer(Request(run, codec.NAMES[type(work)], 0, body))


def events(folder: Path) -> list[dict[str, Any]]:
    return [dict(entry.values) for entry in read_chain(folder / "log.jsonl").entries]


def test_every_kind_of_work_has_a_limit() -> None:
    assert KINDS.keys() == codec.NAMES.keys()


def test_a_refusal_names_the_setting_the_wish_and_the_limit_and_is_in_the_log(tmp_path: Path) -> None:
    wish = {"prototypes__per_class": 1000, "prototypes__min_cluster": 1, "meta__source": "prototypes"}
    answer = ask(desk(tmp_path), ContributeTask(0), **wish)
    line = "prototypes.min_cluster = 1 is below limits.min_cluster = 5"
    assert answer.reason == f"it refuses the request: {line}"
    assert not answer.body
    assert not list(tmp_path.rglob("*.answer"))
    (_, refused) = events(tmp_path)
    assert (refused["event"], refused["reason"], refused["to"]) == ("refused", line, "server:1")


def test_work_with_weights_and_sums_is_refused_where_the_file_says_so(tmp_path: Path) -> None:
    state = copy_state(build("mlp:4", clouds().schema))
    fit = FitTask(FitJob(0, "mlp:4", state, {"max_steps": 60}), 0)
    place = desk(tmp_path, SiteLimits(expert=False))
    assert "limits.expert = false, and a round has weights" in ask(place, fit).reason
    assert "max_steps = 60 is above limits.steps = 50" in ask(desk(tmp_path, SiteLimits(steps=50)), fit).reason
    assert "limits.rounds = 0" in ask(desk(tmp_path, SiteLimits(rounds=0)), fit).reason
    assert "limits.judged = 0" in ask(desk(tmp_path, SiteLimits(judged=0)), EvaluateTask(0, "mlp:4", state)).reason
    nothing = to_state(empty(3))
    sums = BoostTask(0, SumJob(nothing, nothing, torch.zeros(1, dtype=torch.int64), 4), 0)
    assert "sums over bins may be of one row each" in ask(desk(tmp_path), sums).reason
    assert not any(event["event"] == "sent" for event in events(tmp_path))


def test_figures_stay_unless_the_file_lets_them_leave(tmp_path: Path) -> None:
    kept = ask(desk(tmp_path / "a"), ContributeTask(0))
    told = ask(desk(tmp_path / "b", SiteLimits(figures=True)), ContributeTask(0))
    assert Contribution.from_bytes(kept.body).validation == {}
    assert kept.metrics == []
    assert Contribution.from_bytes(told.body).validation["samples"] > 0
    assert told.metrics


def test_the_log_says_what_was_read_and_what_left_to_whom(tmp_path: Path) -> None:
    place = desk(tmp_path)
    place.answer(Request("run", HELLO, 0))
    answer = ask(place, ContributeTask(0))
    again = ask(place, ContributeTask(0))
    assert again.body == answer.body
    greeting, read, sent, repeated = events(tmp_path)
    assert (greeting["event"], greeting["samples"]) == ("greeting", 60)
    assert (read["event"], read["place"], read["samples"]) == ("read", "/data/ward", 60)
    about = {"event": "sent", "kind": "contribution", "task": "contribute", "to": "server:1", "run": "run"}
    assert about.items() <= sent.items()
    assert sent["content"] == hashlib.sha256(answer.body).hexdigest()
    assert sent["bytes"] == len(answer.body)
    assert repeated == sent


def test_nothing_leaves_where_the_log_was_edited_or_cannot_be_written(tmp_path: Path) -> None:
    ask(desk(tmp_path), ContributeTask(0))
    log = tmp_path / "log.jsonl"
    log.write_bytes(re.sub(rb'"bytes":\d+', b'"bytes":1', log.read_bytes()))
    answer = ask(desk(tmp_path), ContributeTask(0), run="two")
    assert answer.reason
    assert not answer.body
    log.unlink()
    log.mkdir()
    answer = ask(desk(tmp_path), ContributeTask(0), run="two")
    assert answer.reason
    assert not answer.body


def test_a_site_that_changes_its_model_makes_no_second_release(tmp_path: Path) -> None:
    """Discriminant and ridge both follow from the same noisy sums, and cost ε once."""
    first = ask(desk(tmp_path, model="discriminant", privacy=OWN), ContributeTask(0), generator__family="moments")
    other = ask(desk(tmp_path, model="ridge", privacy=OWN), ContributeTask(0), "two", generator__family="moments")
    one = Contribution.from_bytes(first.body)
    two = Contribution.from_bytes(other.body)
    assert one.generator is not None
    assert two.generator is not None
    assert all(torch.equal(one.generator[name], two.generator[name]) for name in one.generator)
    assert any(not torch.equal(one.expert[name], two.expert[name]) for name in one.expert)
    sent = [event for event in events(tmp_path) if event["event"] == "sent"]
    assert len(sent) == 2
    assert spending(sent) == Spending(2.0, 1e-6, 1)
    assert replace(one, expert={}).to_bytes() == replace(two, expert={}).to_bytes()


def test_the_ledger_follows_the_data_and_their_place_and_refuses_beyond_the_budget(tmp_path: Path) -> None:
    budget = SiteLimits(epsilon=2.5)
    moments = {"generator__family": "moments"}
    for seed, reason in (
        (0, ""),
        (1, "limits.epsilon = 2.5: 2 is spent in 1 release, and with this one of ε = 2 it would be 2.835"),
    ):
        place = desk(tmp_path, budget, "discriminant", seed, privacy=OWN)
        answer = ask(place, ContributeTask(0), f"run {seed}", **moments)
        assert answer.reason.endswith(reason), answer.reason
        assert bool(answer.body) is not bool(reason)
    again = ask(desk(tmp_path, budget, "discriminant", privacy=OWN), ContributeTask(0), "run 2", **moments)
    assert again.body  # the first release once more, which costs nothing
    moved = desk(tmp_path, budget, "discriminant", 1, privacy=OWN)
    moved = replace(moved, custody=replace(moved.custody, place="/data/other"))
    assert ask(moved, ContributeTask(0), "run 3", **moments).body  # other data at another place


def test_a_budget_of_delta_is_kept_too(tmp_path: Path) -> None:
    place = desk(tmp_path, SiteLimits(delta=1e-7), "discriminant", privacy=OWN)
    assert "limits.delta = 1e-07: 0 is spent" in ask(place, ContributeTask(0), generator__family="moments").reason


def test_a_private_site_s_empty_judgements_cost_nothing(tmp_path: Path) -> None:
    place = desk(tmp_path, SiteLimits(epsilon=3.0), "discriminant", privacy=OWN)
    sent = Contribution.from_bytes(ask(place, ContributeTask(0), generator__family="moments").body)
    assert not ask(place, EvaluateTask(0, sent.architecture, sent.expert), generator__family="moments").reason
    assert spending([e for e in events(tmp_path) if e["event"] == "sent"]) == Spending(2.0, 1e-6, 1)


def test_spending_by_hand() -> None:
    lines = [
        {"draw": "a", "epsilon": 1.0, "delta": 1e-5},
        {"draw": "a", "epsilon": 1.0, "delta": 1e-5},
        {"draw": "b", "epsilon": 0.5, "delta": 1e-6},
        {"draw": "c"},
        {"draw": "d", "empty": True},
    ]
    spent = spending(lines)
    assert (spent.epsilon, spent.delta, spent.releases, spent.open) == (1.5, pytest.approx(1.1e-5), 2, 1)
    assert spending(lines[3:]).summary == "1 release without differential privacy"
    assert spent.summary == "ε = 1.5, δ = 1.1e-05 in 2 releases, and 1 without differential privacy"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("[limits]\nmin_clusters = 3", "did you mean limits.min_cluster"),
        ("[limits]\nmin_cluster = 0", "limits.min_cluster is 0"),
        ("[limits]\ngenerator = 'x'", "limits.generator is 'x', but it should be true, false or families"),
        ("limits = 3", "limits is 3"),
        ("[limits]\nepsilon = 3", r"limits\.epsilon is a budget of releases with noise: set epsilon, too"),
    ],
)
def test_a_wrong_table_in_a_site_s_file_is_told(tmp_path: Path, lines: str, words: str) -> None:
    (tmp_path / "d.parquet").write_bytes(b"")
    head = 'client = 0\ndata = "d.parquet"\nmodel = "mlp:4"\n'
    tail = '\n[server]\naddress = "localhost:9"\n'
    (tmp_path / "site.toml").write_text(head + lines + tail)
    with pytest.raises(UsageError, match=words):
        load_site(tmp_path / "site.toml")


def test_a_site_s_file_has_limits_that_protect_unless_it_says_otherwise(tmp_path: Path) -> None:
    (tmp_path / "d.parquet").write_bytes(b"")
    head = 'client = 0\ndata = "d.parquet"\nmodel = "mlp:4"\n'
    tail = '\n[server]\naddress = "localhost:9"\n'
    (tmp_path / "site.toml").write_text(head + tail)
    site = load_site(tmp_path / "site.toml")
    assert (site.limits.min_cluster, site.limits.prototypes, site.limits.figures) == (5, 10, False)
    assert site.log == site.folder / "site-log.jsonl"
