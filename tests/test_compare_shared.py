"""Shared work at clients: done once, the same answers, and its cost counted each time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines import digests
from mosaic_fl.engines.digests import Digests, digest
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.engines.shared import SharedFederation
from mosaic_fl.engines.tasks import ContributeTask
from mosaic_fl.exchange.federation import FitJob, Fitted, Start
from mosaic_fl.models import build
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.storage.journal import Journal

QUICK = {
    "train.max_steps": 8, "train.min_steps": 8, "generator.steps": 3, "generator.width": 4, "run.workers": 1
}  # fmt: skip


def clients(digits: Dataset, folder: Path, **more: object) -> SharedFederation:
    config = Config().with_values({**QUICK, **{k.replace("_", ".", 1): v for k, v in more.items()}})
    sites = [Site(k, digits.subset(range(80 * k, 80 * k + 60)), "mlp:8") for k in range(2)]
    return SharedFederation(LocalFederation(sites, config, torch.device("cpu"), Journal()), folder)


def forbid_work(federation: SharedFederation) -> None:
    def refuse(task: object) -> Any:
        raise AssertionError(f"asked for {task}")

    federation.engine.workers.submit = refuse  # type: ignore[method-assign]


def start(digits: Dataset) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return copy_state(build("mlp:8", digits.schema))


def test_contributions_are_made_once_and_their_cost_counts_again(digits: Dataset, tmp_path: Path) -> None:
    first, second = clients(digits, tmp_path), clients(digits, tmp_path, distill_steps=7, rounds_warm_up=3)
    made = [c.to_bytes() for c in first.contribute()]
    forbid_work(second)
    assert [c.to_bytes() for c in second.contribute()] == made
    assert min(first.seconds) > 0
    assert second.seconds == first.seconds
    assert 0 < second.wait_seconds < first.wait_seconds


def test_in_two_steps_a_contribution_is_the_same_and_its_classifier_is_trained_once(
    digits: Dataset, tmp_path: Path
) -> None:
    bare = clients(digits, tmp_path, generator_family="none", prototypes_per_class=0)
    classifiers = bare.contribute()
    assert all(c.generator is None and not len(c.prototypes.labels) for c in classifiers)
    whole = clients(digits, tmp_path, generator_family="dcgan")
    asked: list[ContributeTask] = []
    submit = whole.engine.workers.submit
    whole.engine.workers.submit = lambda task: asked.append(task) or submit(task)  # type: ignore[method-assign, func-returns-value]
    made = [c.to_bytes() for c in whole.contribute()]
    assert [task.trained is not None for task in asked] == [True, True]
    assert made == [c.to_bytes() for c in whole.engine.contribute()]  # all at once, kept nowhere before
    assert all(more > less for more, less in zip(whole.seconds, bare.seconds, strict=True))


def test_the_engine_keeps_its_own_journal_whatever_is_shared(digits: Dataset, tmp_path: Path) -> None:
    federation = clients(digits, tmp_path)
    engine = federation.engine
    own, submit, used = engine.journal, engine.workers.submit, list[Journal]()
    engine.workers.submit = lambda task: used.append(engine.journal) or submit(task)  # type: ignore[method-assign, func-returns-value]
    federation.contribute()
    assert [journal is own for journal in used] == [True] * 4
    assert not own.done


@pytest.mark.parametrize(
    "more", [{"train_lr": 1e-3}, {"generator_steps": 4}, {"run_seed": 1}, {"data_validation": 0.2}]
)
def test_other_settings_at_clients_are_other_contributions(
    digits: Dataset, tmp_path: Path, more: dict[str, object]
) -> None:
    clients(digits, tmp_path).contribute()
    other = clients(digits, tmp_path, **more)
    forbid_work(other)
    with pytest.raises(AssertionError, match="ContributeTask"):
        other.contribute()


def test_contributions_from_given_weights_are_others(digits: Dataset, tmp_path: Path) -> None:
    federation = clients(digits, tmp_path)
    plain = federation.contribute()
    begun = federation.contribute({0: Start("mlp:8", start(digits))})
    assert plain[0].to_bytes() != begun[0].to_bytes()
    assert plain[1].to_bytes() == begun[1].to_bytes()


def test_weights_fitted_in_round_0_are_kept_and_later_ones_are_not(digits: Dataset, tmp_path: Path) -> None:
    state = start(digits)
    jobs = [FitJob(k, "mlp:8", state, {"lr": 1e-3}) for k in (1, 0)]
    first, second = clients(digits, tmp_path), clients(digits, tmp_path)
    fitted = first.fit(jobs[:1], 0) + first.fit(jobs[1:], 0)
    forbid_work(second)
    again = second.fit(jobs, 0)
    for one, other in zip(fitted, again, strict=True):
        assert (one.client, one.samples, one.validation) == (other.client, other.samples, other.validation)
        assert one.state.keys() == other.state.keys()
        assert all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    assert second.seconds == first.seconds
    with pytest.raises(AssertionError, match="FitTask"):
        second.fit(jobs, 1)
    with pytest.raises(AssertionError, match="FitTask"):
        second.fit([FitJob(0, "mlp:8", state, {"lr": 2e-3})], 0)


def test_a_damaged_answer_is_made_again(digits: Dataset, tmp_path: Path) -> None:
    job = FitJob(0, "mlp:8", start(digits))
    fitted = clients(digits, tmp_path).fit([job], 0)[0]
    (path,) = (tmp_path / "fits").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    again = clients(digits, tmp_path).fit([job], 0)[0]
    assert torch.equal(fitted.state["head.weight"], again.state["head.weight"])


def test_all_else_goes_to_the_engine_and_is_timed(digits: Dataset, tmp_path: Path) -> None:
    federation = clients(digits, tmp_path)
    assert federation.architectures == ["mlp:8", "mlp:8"]
    assert federation.schema == digits.schema
    before = federation.wait_seconds
    assert len(federation.evaluate("mlp:8", start(digits), clients=[1])) == 1
    assert federation.wait_seconds > before
    assert len(federation.statistics("mlp:8", start(digits))) == 2
    assert min(federation.seconds) > 0


@dataclass(frozen=True)
class _Job(FitJob):
    """A job with more fields than today's."""

    extra: dict[str, torch.Tensor] = field(default_factory=dict)
    teacher: object = None


def test_a_digest_is_of_all_fields_and_of_content() -> None:
    state = {"w": torch.tensor([1.0, 2.0])}
    job = _Job(0, "mlp:8", state)
    assert digest(job) == digest(_Job(0, "mlp:8", {"w": torch.tensor([1.0, 2.0])}))
    others = [
        _Job(1, "mlp:8", state),
        _Job(0, "mlp:8", {"w": torch.tensor([1.0, 2.5])}),
        _Job(0, "mlp:8", {"w": torch.tensor([[1.0, 2.0]])}),
        _Job(0, "mlp:8", {"w": torch.tensor([1.0, 2.0], dtype=torch.float64)}),
        _Job(0, "mlp:8", state, {"lr": 1}),
        _Job(0, "mlp:8", state, extra=state),
        FitJob(0, "mlp:8", state),
    ]
    assert len({digest(value) for value in [job, *others]}) == 8
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert len({digest(v) for v in ([1, [2]], [[1], 2], [1, 2], "1", 1, 1.0, True, None)}) == 8
    with pytest.raises(TypeError):
        digest(_Job(0, "mlp:8", state, teacher=object()))


def test_a_tensors_bytes_are_hashed_once_for_all_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, of_tensor = list[torch.Tensor](), digests._of_tensor
    monkeypatch.setattr(digests, "_of_tensor", lambda tensor: hashed.append(tensor) or of_tensor(tensor))
    state = {"w": torch.ones(3), "b": torch.ones(3)}
    several = Digests()
    made = [several.of(FitJob(client, "mlp:8", state)) for client in range(3)]
    assert len(hashed) == 2
    assert made == [digest(FitJob(client, "mlp:8", state)) for client in range(3)]


@dataclass(frozen=True)
class _Fitted:
    """An answer with fields of every kind."""

    client: int
    state: dict[str, torch.Tensor]
    validation: dict[str, float]
    counts: torch.Tensor = field(default_factory=lambda: torch.tensor([3, 4]))
    own: dict[str, torch.Tensor] = field(default_factory=lambda: {"a/b": torch.ones(2)})


def test_an_answer_keeps_all_its_fields(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic_fl.engines.shared.Fitted", _Fitted)
    federation, job = clients(digits, tmp_path), FitJob(0, "mlp:8", start(digits))
    answer = _Fitted(0, {"w": torch.ones(1)}, {"loss": 0.1})
    monkeypatch.setattr(federation.engine, "fit", lambda jobs, round: [answer])
    federation.fit([job], 0)
    forbid_work(federation)
    monkeypatch.setattr(federation.engine, "fit", None)
    (again,) = federation.fit([job], 0)
    assert isinstance(again, _Fitted)
    assert digest(again) == digest(answer)


def test_what_has_no_digest_is_done_every_time(digits: Dataset, tmp_path: Path) -> None:
    federation = clients(digits, tmp_path)
    (fitted,) = federation.fit([_Job(0, "mlp:8", start(digits), teacher=object())], 0)
    assert isinstance(fitted, Fitted)
    assert not (tmp_path / "fits").exists()
