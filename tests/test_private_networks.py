"""A private contribution of a network: what it says, what it sends, and what a run without ε keeps, byte for byte."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("opacus", reason="the privacy extra is not installed")

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.client.private import contribute_privately
from mosaic_fl.client.private_plan import plan_of, samples_needed
from mosaic_fl.config import Config
from mosaic_fl.config.model_names import without_batch_norm
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.privacy import Part, Statement
from mosaic_fl.extras import EXTRAS
from mosaic_fl.generators.moments import NoisyClassMoments
from mosaic_fl.notes import Note
from mosaic_fl.numerics.accountant import Release, epsilon_of
from mosaic_fl.runs.privacy import note_weak_signal, privacy_lines, private_architecture, site_line
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
SHORT = {
    "privacy.epsilon": 8.0,
    "privacy.rate": 0.1,
    "train.epochs": 2,
    "train.min_steps": 1,
    "generator.steps": 30,
    "generator.width": 4,
    "generator.latent": 4,
}


def config(**more: Any) -> Config:
    return Config().with_values(SHORT | {name.replace("__", "."): value for name, value in more.items()})


def pictures(count: int = 300) -> Dataset:
    """Three classes: a bright left, middle or right of an image of 8×8 pixels."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    images = rng.integers(0, 60, (count, 8, 8))
    for k in range(3):
        images[labels == k, :, 2 * k + 1 : 2 * k + 3] += 180
    return mosaic_fl.from_arrays(images.astype(np.uint8), labels)


def vectors(count: int = 300) -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 3
    return mosaic_fl.from_arrays((rng.normal(size=(count, 4)) + 3 * np.eye(4)[labels]).astype(np.float32), labels)


def private(data: Dataset, model: str, settings: Config) -> Contribution:
    recorders = dict[str, Recorder]()
    source = np.random.default_rng(0).bytes
    sent = contribute_privately(
        0, data, model, settings, lambda stage: recorders.setdefault(stage, Recorder(stage)), source
    )
    assert not any(recorder.metrics for recorder in recorders.values())  # a loss would leave without noise
    return Contribution.from_bytes(sent.to_bytes())


def test_a_network_and_a_generator_leave_with_one_epsilon_over_all_their_releases() -> None:
    sent = private(pictures(), "cnn:4", config())
    assert sent.architecture == "cnn:4:2:4"
    assert sent.privacy is not None
    assert [part.of for part in sent.privacy.parts] == ["class counts", "expert", "generator", "latents"]
    releases = [Release(part.noise, part.rate, part.steps) for part in sent.privacy.parts]
    assert 7.6 < epsilon_of(releases, 1e-5) <= 8.0
    assert [(part.rate, part.steps) for part in sent.privacy.parts] == [(1, 1), (0.1, 20), (0.1, 30), (1, 1)]
    assert sent.generator_spec is not None
    assert sent.generator_spec.family == "cvae"
    assert len(sent.prototypes.labels) == 0
    assert sent.class_counts.tolist() != [100, 100, 100]
    assert int((sent.class_counts - 100).abs().max()) < 8 * sent.privacy.parts[0].noise
    generator = sent.build_generator()
    assert generator is not None
    drawn = generator.sample(torch.arange(3), torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 1, 8, 8)


def test_without_a_generator_the_network_has_the_whole_budget_but_for_counts() -> None:
    alone = plan_of(pictures(3).schema, "cnn:4", config(generator__family="none"))
    both = plan_of(pictures(3).schema, "cnn:4", config())
    assert alone.expert is not None
    assert both.expert is not None
    assert alone.expert.noise < both.expert.noise
    sent = private(pictures(), "mlp:8", config(generator__family="none"))
    assert sent.generator_spec is None
    assert sent.privacy is not None
    assert [part.of for part in sent.privacy.parts] == ["class counts", "expert"]


def test_of_vectors_the_generator_is_noisy_moments_beside_the_network() -> None:
    sent = private(vectors(), "mlp:8", config(privacy__clip=6.0))
    assert isinstance(sent.build_generator(), NoisyClassMoments)
    assert sent.privacy is not None
    assert [part.of for part in sent.privacy.parts] == ["moments", "expert"]
    releases = [Release(part.noise, part.rate, part.steps) for part in sent.privacy.parts]
    assert 7.6 < epsilon_of(releases, 1e-5) <= 8.0


def test_moments_beside_pictures_share_the_budget_with_a_network() -> None:
    sent = private(pictures(), "mlp:8", config(moments__encoder="gabor:32", generator__family="none"))
    assert sent.moments is not None
    assert sent.generator_spec is None
    assert sent.privacy is not None
    assert [part.of for part in sent.privacy.parts] == ["moments", "expert"]


def test_a_private_network_learns() -> None:
    data = pictures(900)
    more = {"privacy.epsilon": 50.0, "train.epochs": 10, "generator.family": "none"}
    sent = private(data, "mlp:16", config(**more))
    outputs = sent.build_expert().log_probabilities(data.samples)
    assert float((outputs.argmax(1) == data.labels).double().mean()) > 0.9


def test_neither_the_plan_nor_the_form_of_what_is_sent_depends_on_the_samples() -> None:
    """A site of three samples, of one class, sends the same names, shapes and parts as one of 300."""
    few = pictures(9).subset([0, 3, 6])
    sent = [private(data, "cnn:4", config()) for data in (few, pictures())]
    assert sent[0].privacy == sent[1].privacy
    shapes = [{name: tensor.shape for name, tensor in one.expert.items()} for one in sent]
    assert shapes[0] == shapes[1]


def test_an_epsilon_without_limit_is_no_privacy_byte_for_byte() -> None:
    data = pictures(60)
    short = {"train.epochs": 1, "train.min_steps": 1, "generator.steps": 5, "generator.width": 4}
    sent = []
    for epsilon in (None, "inf", float("inf")):
        settings = Config().with_values(short | ({} if epsilon is None else {"privacy.epsilon": epsilon}))
        assert settings == Config().with_values(short)
        sent.append(contribute(Site(0, data, "cnn:4"), settings, CPU, lambda _: Recorder()).to_bytes())
    assert sent[0] == sent[1] == sent[2]


@pytest.mark.parametrize(
    ("name", "grouped"),
    [
        ("cnn:16", "cnn:16:2:4"),
        ("cnn:8:3", "cnn:8:3:4"),
        ("cnn:8:3:2", "cnn:8:3:2"),
        ("mlp", "mlp:64:2:4"),
        ("resnet18", "resnet18:64:4"),
        ("lenet", "lenet"),
        ("vit:16", "vit:16"),
        ("my.module:net", "my.module:net"),
    ],
)
def test_the_name_of_a_network_says_that_it_has_group_norm(name: str, grouped: str) -> None:
    assert without_batch_norm(name) == grouped
    assert without_batch_norm(grouped) == grouped
    assert private_architecture(name, Config()) == name


def test_the_change_of_norm_is_told() -> None:
    with pytest.warns(Note, match="cnn:16 is trained as cnn:16:2:4, with group norm"):
        assert private_architecture("cnn:16", config()) == "cnn:16:2:4"


def test_noise_larger_than_the_signal_is_told_with_the_samples_that_it_would_need() -> None:
    """Of the counts: classes times the noise of one. Of the expert: σ·√(weights/steps)/rate."""
    settings = config(privacy__epsilon=0.5)
    plan = plan_of(pictures(3).schema, "cnn:4:2:4", settings)
    needed = samples_needed(plan, pictures(3).schema)
    assert plan.counts is not None
    assert plan.expert is not None
    assert needed["class counts"] == pytest.approx(3 * plan.counts.noise, abs=1)
    # Of one channel and three classes: 4·9 weights, 2·4 of the norm, 4·8·9, 2·8, and 3·(8·4·4 + 1) of the head.
    weights = 36 + 8 + 288 + 16 + 3 * 129
    assert needed["the expert"] == pytest.approx(plan.expert.noise * (weights / 20) ** 0.5 / 0.1, abs=1)
    with pytest.warns(
        Note, match=rf"client 7: noise for ε = 0.5 .* of 60 samples.*class counts {needed['class counts']}"
    ):
        note_weak_signal(Site(7, pictures(60), "cnn:4:2:4"), settings)


def test_a_statement_with_parts_is_read_and_one_out_of_range_refused() -> None:
    part = Part("expert", 1.5, 0.05, 600)
    statement = Statement(3.0, 1e-5, (part,))
    assert Statement.from_json(statement.to_json()) == statement
    good = statement.to_json()["parts"][0]
    wrong_ones = [{"noise": 0}, {"rate": 1.5}, {"steps": 0}, {"steps": True}, {"of": "a\n"}, {"of": "x" * 41}]
    for wrong in [*wrong_ones, {"noise": "1"}]:
        with pytest.raises(UsageError, match="a part that is none"):
            Statement.from_json({"epsilon": 3.0, "delta": 1e-5, "parts": [good | wrong]})
    with pytest.raises(UsageError, match="no ε and δ in range"):
        Statement.from_json({"epsilon": 3.0, "delta": 1e-5, "parts": [good] * 9})


def test_a_site_and_a_result_say_each_release() -> None:
    site = Site(0, pictures(), "cnn:4:2:4")
    line = site_line(site, config())
    assert "Gaussian noise on counts, and on the gradients of each step (DP-SGD); class counts: noise" in line
    assert "20 steps of a share 0.1 of the samples" in line
    parts = ["expert: noise 1.5"]
    figure = {"epsilon": 3.0, "delta": 1e-5, "unit": "u", "private": 1, "clients": 2, "not_covered": ["x"]}
    lines = list(privacy_lines({"privacy": figure | {"mechanism": "m", "parts": parts}}))
    assert lines[0] == "Privacy: ε = 3, δ = 1e-05 for u (1 of 2 sites); m; expert: noise 1.5"


def test_wrong_epsilons_rows_and_a_lack_of_opacus_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for epsilon in ("0", "-1", "0.0"):
        assert "--epsilon" in (line := fails(capsys, "run", "--epsilon", epsilon, "--out", str(tmp_path / "r")))
        assert "above 0" in line
    rows = mosaic_fl.from_arrays(np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2).schema
    with pytest.raises(UsageError, match="networks need 0.01 at least"):
        plan_of(rows, "cnn:4", config(privacy__epsilon=0.001))
    assert EXTRAS["opacus"] == "privacy"
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "opacus" else real(name))
    with pytest.raises(UsageError, match=r"needs opacus, which is not installed: pip install 'mosaic-fl\[privacy\]'"):
        epsilon_of([Release(1.0)], 1e-5)


def test_a_file_of_a_private_network_is_distilled(tmp_path: Path) -> None:
    data = vectors()
    np.savez(tmp_path / "d.npz", features=data.samples.only.numpy(), labels=data.labels.numpy())
    words = ("--classes", "3", "--model", "mlp:8", "--epsilon", "8", "--client", "0", "--set", "privacy.clip=6")
    few = [f"--set={name}={value}" for name, value in SHORT.items() if name != "privacy.epsilon"]
    printed = mosaic("contribute", "--data", "d.npz", *words, *few, "--out", "a", cwd=tmp_path)
    assert "model mlp:8:2:4" in printed
    assert "ε = 8, δ = 1e-05" in printed
    mosaic("distill", "a", "--student", "mlp:8", "--set", "distill.steps=20", "--out", "g", cwd=tmp_path)
    result = json.loads((tmp_path / "g" / "result.json").read_text())
    assert len(result["privacy"]["parts"]) == 2
