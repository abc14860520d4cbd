"""Class moments of pictures with noise for differential privacy: they are all that leaves, and a student learns."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from command import fails, mosaic
from moments_cases import split_by_class, told
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.client.private import contribute_privately
from mosaic_fl.config import Config
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.generators.moments import NoisyClassMoments
from mosaic_fl.server.feature_space import feature_space
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
PRIVATE = {"privacy.epsilon": 8.0, "moments.encoder": "gabor:16", "generator.family": "none"}


def config(**more: Any) -> Config:
    return Config().with_values(PRIVATE | {name.replace("__", "."): value for name, value in more.items()})


def private(data: Dataset, client: int, seed: int = 0) -> Contribution:
    """With noise that is the same each time, for tests alone."""
    source = np.random.default_rng([seed, client]).bytes
    return contribute_privately(client, data, "none", config(), lambda _: Recorder(), source)


def test_the_noisy_moments_and_what_follows_from_them_are_all_that_leaves(digits: Dataset) -> None:
    sent = Contribution.from_bytes(private(digits.subset(range(900)), 0).to_bytes())
    assert sent.schema == digits.schema
    assert sent.generator is None
    assert sent.validation == {}
    assert sent.architecture == "none"
    assert sent.moments is not None
    built = sent.moments.build(sent.schema, "it")
    assert isinstance(built, NoisyClassMoments)
    assert sent.class_counts.equal(built.counts.clamp(min=0))
    assert sent.expert["counts"].equal(sent.class_counts)
    exact = digits.subset(range(900)).class_counts()
    assert not sent.class_counts.equal(exact)


def test_a_site_s_own_work_is_the_release(digits: Dataset) -> None:
    sent = contribute(Site(3, digits.subset(range(200)), "none"), config(), CPU, lambda _: Recorder())
    assert sent.privacy is not None
    assert sent.moments is not None


def test_noise_that_is_too_small_or_lacking_is_refused(digits: Dataset) -> None:
    sent = private(digits.subset(range(300)), 0)
    assert sent.moments is not None
    assert sent.privacy is not None
    quiet = replace(sent.moments, state={**sent.moments.state, "noise": sent.moments.state["noise"] / 2})
    with pytest.raises(UsageError, match="for which its noise is too small"):
        Contribution.from_bytes(replace(sent, moments=quiet).to_bytes())
    exact = told(digits.subset(range(300)), 0).moments
    many = sent.class_counts + 100
    for moments in (exact, None):
        with pytest.raises(UsageError, match="has no class moments with noise"):
            Contribution.from_bytes(replace(sent, moments=moments, class_counts=many).to_bytes())


def test_noisy_moments_of_several_sites_are_added_up(digits: Dataset) -> None:
    parts = split_by_class(digits.subset(range(1400)), 2)
    space = feature_space([private(part, k) for k, part in enumerate(parts)])
    assert space is not None
    test = digits.subset(range(1400, 1700))
    answers = space.expert.log_probabilities(test.samples)
    assert float((answers.argmax(1) == test.labels).float().mean()) > 0.75


def test_what_would_leave_without_noise_is_refused_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "--data", "digits", "--workers", "1", "--moments", "gabor", "--epsilon", "1"]
    assert "generator auto has no noise: say --generator none" in fails(capsys, *run, "--models", "none")
    words = fails(capsys, *run, "--generator", "none", "--models", "discriminant")
    assert "model 'discriminant' has no noise: say none, beside --moments" in words
    no_length = ["--generator", "none", "--models", "none", "--moments", "gabor:16", "--set", "privacy.clip=-1"]
    assert "privacy.clip" in fails(capsys, *run[:-4], *no_length, "--epsilon", "1")


def test_a_private_run_by_files_ends_in_a_plain_student(digits: Dataset, tmp_path: Path) -> None:
    for name, part in zip("ab", split_by_class(digits.subset(range(1400)), 2), strict=True):
        save_parquet(part, tmp_path / f"{name}.parquet")
    for k, name in enumerate("ab"):
        words = ["--data", f"{name}.parquet", "--classes", "10", "--model", "none", "--generator", "none"]
        more = ["--moments", "strokes", "--epsilon", "20", "--client", str(k), "--out", f"{k}.contribution"]
        out = mosaic("contribute", *words, *more, cwd=tmp_path)
        assert "Privacy: ε = 20" in out
        assert "of the vectors clipped" in out
    steps = ["--set", "distill.steps=50", "--set", "distill.pool=500", "--set", "distill.prior=none"]
    files = ["0.contribution", "1.contribution", "--student", "mlp:16", "--set", "privacy.epsilon=20", *steps]
    out = mosaic("distill", *files, "--out", "global", cwd=tmp_path)
    assert "Privacy: ε = 20" in out
    result = json.loads((tmp_path / "global" / "result.json").read_text())
    assert result["privacy"]["private"] == 2
    assert result["choice"]["teacher"] == "moments"
