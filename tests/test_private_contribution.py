"""A contribution under differential privacy: what leaves follows from noise, and the rest is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import mosaic_fl
from command import fails, mosaic
from hostile_states import changed
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.client.private import contribute_privately
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.clipping import clip_of
from mosaic_fl.engines.tasks import EvaluateTask, Workplace
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.privacy import Statement
from mosaic_fl.generators.moments import NoisyClassMoments, noisy_spec
from mosaic_fl.server.class_moments import pooled
from mosaic_fl.server.distill import distill
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Recorder, deaf

CPU = torch.device("cpu")
PRIVATE = {"privacy.epsilon": 2.0, "privacy.clip": 6.0, "models.student": "discriminant"}


def clouds(count: int = 600, seed: int = 0) -> Dataset:
    """Three classes around (3, 0, 0, 0), (0, 3, 0, 0), (0, 0, 3, 0)."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    features = torch.randn(count, 4, generator=rng) + 3 * torch.eye(4)[labels]
    return mosaic_fl.from_arrays(features.numpy(), labels.numpy())


def config(**more: Any) -> Config:
    return Config().with_values(PRIVATE | {name.replace("__", "."): value for name, value in more.items()})


def private(data: Dataset, client: int = 0, settings: Config | None = None, seed: int | None = None) -> Contribution:
    settings = config() if settings is None else settings
    if seed is None:
        return contribute(Site(client, data, "discriminant"), settings, CPU, lambda _: Recorder())
    source = np.random.default_rng(seed).bytes
    return contribute_privately(client, data, "discriminant", settings, lambda _: Recorder(), source)


def test_what_leaves_is_the_noisy_sums_and_what_follows_from_them() -> None:
    data = clouds()
    sent = Contribution.from_bytes(private(data).to_bytes())
    assert sent.validation == {}
    assert sent.prototypes.features.numel() == 0
    assert sent.field_counts is None
    assert sent.privacy is not None
    assert sent.privacy.to_json() == {"epsilon": 2.0, "delta": 1e-5}
    generator = sent.build_generator()
    assert isinstance(generator, NoisyClassMoments)
    assert sent.class_counts.tolist() == generator.counts.clamp(min=0).tolist()
    from mosaic_fl.experts.closed_form import closed_form_state

    again = closed_form_state("discriminant", sent.schema, generator.moments)
    assert all(torch.equal(again[name], tensor) for name, tensor in sent.expert.items())


def test_noise_is_new_each_time_and_a_seed_is_for_tests_alone() -> None:
    data = clouds()
    assert private(data).to_bytes() != private(data).to_bytes()
    assert private(data, seed=1).to_bytes() == private(data, seed=1).to_bytes()


def test_an_empty_class_is_told_with_noise_as_any_other() -> None:
    """Its count is noise: of 40 sites without a sample of class 2, none tells so by a count that is exactly 0."""
    data = clouds()
    data = data.subset(data.labels != 2)
    counts = [private(data, seed=seed).build_generator() for seed in range(40)]
    told = [int(generator.counts[2]) for generator in counts if isinstance(generator, NoisyClassMoments)]
    assert len(set(told)) > 20
    assert min(told) < 0 < max(told)


def test_a_site_without_any_sample_above_the_noise_still_sends_a_contribution_that_is_read() -> None:
    few = clouds(3)
    for seed in range(20):
        Contribution.from_bytes(private(few, seed=seed, settings=config(privacy__epsilon=0.01)).to_bytes())


def test_the_server_adds_the_noisy_sums_before_it_removes_noise() -> None:
    data = clouds(3000)
    parts = [private(data.subset([*range(k, 3000, 5)]), k, seed=k) for k in range(5)]
    merged = pooled(parts)
    assert merged.total == pytest.approx(3000, abs=5 * 5**0.5 * 40)
    means = merged.means - 3 * torch.eye(4)[:3]
    each = [generator.moments for part in parts if isinstance(generator := part.build_generator(), NoisyClassMoments)]
    alone = sum(float((one.means - 3 * torch.eye(4)[:3]).norm()) for one in each) / 5
    assert float(means.norm()) < alone
    model = distill(parts, config(), CPU, Journal()).model
    test = clouds(seed=1)
    assert float((model.logits(test.samples).argmax(1) == test.labels).float().mean()) > 0.9


def test_private_and_other_sites_are_added_up_together() -> None:
    exact = Config().with_values({"generator.family": "moments", "data.validation": 0.0})
    other = contribute(Site(1, clouds(seed=2), "discriminant"), exact, CPU, lambda _: Recorder())
    noisy = private(clouds(), seed=0)
    merged = pooled([noisy, other])
    assert 600 < merged.total < 1200  # the noisy sums count for as much as their noise leaves them
    truth = 3 * torch.eye(4)[:3]
    off = [float((moments.means - truth).norm()) for moments in (merged, pooled([noisy]))]
    assert off[0] < off[1]


def test_a_run_with_epsilon_refuses_contributions_that_say_less() -> None:
    exact = Config().with_values({"generator.family": "moments", "data.validation": 0.0})
    open_one = contribute(Site(0, clouds(), "discriminant"), exact, CPU, lambda _: Recorder())
    with pytest.raises(UsageError, match="client 0 sent a contribution of no differential privacy"):
        distill([open_one], config(), CPU, Journal())
    with pytest.raises(UsageError, match="ε = 2, δ = 1e-05, and this run asks for ε = 1"):
        distill([private(clouds())], config(privacy__epsilon=1.0), CPU, Journal())


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("counts", changed(0, -(2**30)), "less than its noise explains"),
        ("counts", changed(0, 2**60), "vectors of a class"),
        ("sums", changed(0, 1e9), "a sum longer"),
        ("squares", changed(1, 1e9), "squares larger"),
        ("squares", changed(0, -1e6), "squares larger|negative square"),
        ("noise", changed(0, 0.0), "above 0"),
        ("noise", changed(1, 0.01), "its noise is too small"),
        ("noise", changed(2, 1e35), "above 0"),
        ("clip", changed(0, -1.0), "above 0"),
        ("clip", changed(0, 60.0), "its noise is too small"),
        ("squares", lambda tensor: tensor[:-1], "squares"),
    ],
)
def test_sums_that_no_data_and_no_noise_give_are_refused(
    name: str, change: Callable[[Tensor], Tensor], words: str
) -> None:
    sent = private(clouds(), seed=0)
    state = sent.generator
    assert state is not None
    with pytest.raises(UsageError, match=words):
        Contribution.from_bytes(replace(sent, generator={**state, name: change(state[name])}).to_bytes())


def test_a_statement_without_noise_is_refused() -> None:
    exact = Config().with_values({"generator.family": "moments", "data.validation": 0.0})
    open_one = contribute(Site(0, clouds(), "discriminant"), exact, CPU, lambda _: Recorder())
    liar = replace(open_one, privacy=private(clouds()).privacy)
    with pytest.raises(UsageError, match="has no class moments with noise"):
        Contribution.from_bytes(liar.to_bytes())


@pytest.mark.parametrize("value", [0, -1, 101, 10**400, float("nan")], ids=["0", "-1", "101", "huge", "nan"])
def test_a_statement_out_of_range_is_refused(value: float) -> None:
    for name in ("epsilon", "delta"):
        with pytest.raises(UsageError, match="no ε and δ in range"):
            Statement.from_json({"epsilon": 1, "delta": 1e-5} | {name: value})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"generator.family": "flow"}, "generator flow has no noise"),
        ({"prototypes.per_class": 5}, "prototypes have no noise"),
        ({"rounds.warm_up": 1}, "rounds of averaging"),
        ({"rounds.fine_tune": 1}, "rounds of averaging"),
        ({"distill.choose": True}, "exact scores"),
        ({"experts.kind": "class_average"}, "class_average"),
        ({"models.clients": ["random_forest"]}, "model 'random_forest' has no noise"),
        ({"models.clients": ["fusion:8"]}, "model 'fusion:8' has no noise"),
        ({"generator.family": "cvae"}, "model discriminant follows from class moments, not from generator cvae"),
        ({"train.proximal": 0.1}, "no proximal term"),
        ({"run.method": "fedavg"}, "method fedavg sends more"),
    ],
)
def test_what_would_leave_without_noise_is_refused(settings: dict[str, Any], words: str) -> None:
    wrong = config().with_values(settings)
    with pytest.raises(UsageError, match=words):
        contribute(Site(0, clouds(), "discriminant"), wrong, CPU, lambda _: Recorder())


def test_other_models_samples_and_starts_are_refused() -> None:
    data = clouds()
    with pytest.raises(UsageError, match="model 'random_forest' has no noise"):
        contribute(Site(0, data, "random_forest"), config(), CPU, lambda _: Recorder())
    images = mosaic_fl.from_arrays(torch.zeros(40, 8, 8).byte().numpy(), (torch.arange(40) % 2).numpy())
    with pytest.raises(UsageError, match="moments"):
        contribute(Site(0, images, "discriminant"), config(), CPU, lambda _: Recorder())
    with pytest.raises(UsageError, match="begins from nothing"):
        contribute(Site(0, data, "discriminant"), config(), CPU, lambda _: Recorder(), start={})
    with pytest.raises(UsageError, match=r"set privacy\.clip"):
        contribute(Site(0, data, "discriminant"), config(privacy__clip=0), CPU, lambda _: Recorder())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epsilon", -1, "privacy.epsilon"),
        ("epsilon", 101, "privacy.epsilon"),
        ("delta", 0, "privacy.delta"),
        ("delta", 1, "privacy.delta"),
        ("squares", 0.999, "leave no share for the sums"),
    ],
)
def test_settings_out_of_range_are_told(name: str, value: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Config().with_values({f"privacy.{name}": value})


def test_a_private_client_judges_nothing() -> None:
    sent = private(clouds())
    place = Workplace({0: Site(0, clouds(), "discriminant")}, config(), CPU, deaf)
    table = EvaluateTask(0, sent.architecture, sent.expert)(place).value
    assert int(table.sum()) == 0


def test_the_length_of_vectors_is_that_of_the_encoder_and_no_data() -> None:
    images = mosaic_fl.from_arrays(torch.zeros(40, 8, 8).byte().numpy(), (torch.arange(40) % 2).numpy())
    kind = mosaic_fl.encode(images, "gabor:64").schema.kind
    assert clip_of(kind, 0.0) == pytest.approx(0.8 * 8)
    assert clip_of(kind, 3.0) == 3.0
    photographs = Vector(928, "efficientnet-lite0:160", "", kind.of)
    assert clip_of(photographs, 0.0) == pytest.approx(0.8 * 1180 / 160**0.5)


def test_classes_have_squares_of_their_own_in_the_space_of_grey_pictures_alone() -> None:
    """Width 4 says that each class has them, 3 that all classes share one."""
    grey = mosaic_fl.from_arrays(torch.zeros(40, 8, 8).byte().numpy(), (torch.arange(40) % 2).numpy())
    assert noisy_spec(mosaic_fl.encode(grey, "gabor:64").schema).width == 4
    assert noisy_spec(clouds().schema).width == 3


def test_a_private_run_and_files_say_what_is_covered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--epsilon", "60", "--alpha", "5", "--encoder", "gabor")
    printed = mosaic("run", "--preset", "encoder", *words, "--out", "run", cwd=tmp_path)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["privacy"]["epsilon"] == 60
    assert result["privacy"]["private"] == result["privacy"]["clients"] == 5
    assert 0 < result["privacy"]["clipped"] <= 1
    assert result["own_data"] == []
    assert result["accuracy"] > 0.5
    assert "Privacy: ε = 60, δ = 1e-05 for one sample more or less at one site (5 of 5 sites)" in printed
    files = sorted((tmp_path / "run" / "contributions").iterdir())
    mosaic("distill", *files, "--student", "discriminant", "--out", "global", cwd=tmp_path)
    assert json.loads((tmp_path / "global" / "result.json").read_text())["privacy"]["epsilon"] == 60
    line = fails(capsys, "distill", *files, "--set", "privacy.epsilon=1", "--out", str(tmp_path / "g2"))
    assert "this run asks for ε = 1" in line
    line = fails(capsys, "run", "--epsilon", "1", "--models", "xgboost", "--out", str(tmp_path / "r2"))
    assert "model 'xgboost' has no noise" in line
    np.savez(tmp_path / "own.npz", features=clouds().samples.only.numpy(), labels=clouds().labels.numpy())
    own = ("--preset", "encoder", "--data", str(tmp_path / "own.npz"), "--encoder", "", "--epsilon", "1")
    assert "set privacy.clip" in fails(capsys, "run", *own, "--out", str(tmp_path / "r3"))
    line = fails(capsys, "compare", "--methods", "mosaic", "--set", "privacy.epsilon=1", "--out", str(tmp_path / "c"))
    assert "privacy.epsilon" in line


@pytest.mark.parametrize(
    "words",
    [
        ("--set", "privacy.delta=1e-6"),
        ("--set", "privacy.clip=6"),
        ("--set", "privacy.epsilon=0", "--set", "privacy.delta=0.01"),
    ],
)
def test_privacy_without_an_epsilon_is_told_and_nothing_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    own = ("--data", str(tmp_path), "--model", "discriminant", "--client", "0", "--out", str(tmp_path / "a"))
    assert "without an epsilon above 0 adds no noise" in fails(capsys, "contribute", *own, *words)
    delta = ("--delta", "1e-6")
    assert "without an epsilon above 0 adds no noise" in fails(capsys, "contribute", *own, *delta)
    assert "without an epsilon above 0 adds no noise" in fails(capsys, "run", "--out", str(tmp_path / "r"), *words)
    assert not list(tmp_path.iterdir())
