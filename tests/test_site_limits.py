"""The site decides: what is asked for beyond its own limits is refused with the limit, before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mosaic_fl
from command import fails, mosaic
from mosaic_fl.client.contribute import Site
from mosaic_fl.client.custody import ANSWER, CONTRIBUTION, JUDGEMENT, ROUND, Custody
from mosaic_fl.config import Config
from mosaic_fl.config.site_limits import SiteLimits, read_limits
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import RefusalError, UsageError
from mosaic_fl.exchange.privacy import Statement

CPU = torch.device("cpu")
PROTOTYPES = {"meta.source": "prototypes", "generator.family": "none"}
MANY = {"min_cluster": 11}
NO_GENERATOR = {"generator.family": "none"}
FINE = PROTOTYPES | {"prototypes.per_class": 3, "prototypes.min_cluster": 1}


def vectors(count: int = 60, seed: int = 0) -> Dataset:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    features = torch.randn(count, 4, generator=rng) + 3 * torch.eye(4)[labels]
    return mosaic_fl.from_arrays(features.numpy(), labels.numpy())


def site(data: Dataset | None = None, model: str = "mlp:4") -> Site:
    return Site(0, vectors() if data is None else data, model)


def check(limits: SiteLimits, wish: dict[str, Any], kind: str = CONTRIBUTION, place: Site | None = None) -> None:
    config = Config().with_values(wish)
    Custody(limits).check(place or site(), config, CPU, kind)


@pytest.mark.parametrize(
    ("limits", "wish", "words"),
    [
        ({}, FINE, "prototypes.min_cluster = 1 is below limits.min_cluster = 5"),
        ({}, PROTOTYPES | {"prototypes.per_class": 1000}, "per_class = 1000 is above limits.prototypes = 10"),
        ({"prototypes": 0}, PROTOTYPES | {"prototypes.per_class": 1}, "per_class = 1 is above limits.prototypes = 0"),
        ({"generator": False}, {}, "generator.family = auto, and limits.generator = false"),
        ({"generator": ("cart",)}, {}, r"generator moments is not of limits.generator \(cart\)"),
        ({"generator": ()}, {}, r"generator moments is not of limits.generator \(none\)"),
        ({}, {"generator.family": "exact_moments"}, "exact_moments tells of 1 sample and more, and limits.min_cluster"),
        ({}, {"generator.family": "mixtures"}, "generator mixtures tells of 1 sample and more"),
        ({"min_cluster": 11}, {}, "generator moments tells of 10 samples and more, and limits.min_cluster is 11"),
        ({"moments": False}, {"moments.encoder": "gabor"}, "moments.encoder = gabor, and limits.moments = false"),
        (MANY, {"moments.encoder": "gabor", **NO_GENERATOR}, "moments.encoder = gabor tells of 10 samples and more"),
        ({"least_samples": 61}, {}, "fewer samples than its limits.least_samples = 61"),
        ({"expert": False}, {}, "limits.expert = false, and a contribution has weights"),
        ({"generator": False}, {"privacy.epsilon": 1.0}, "generator.family = auto, and limits.generator = false"),
        ({"steps": 100}, {}, "train.max_steps = 2000 is above limits.steps = 100"),
        ({"epsilon": 3.0}, {}, "limits.epsilon = 3 is a budget, and this contribution has no differential privacy"),
    ],
)  # fmt: skip
def test_a_wish_beyond_a_limit_is_refused_with_both_numbers(
    limits: dict[str, Any], wish: dict[str, Any], words: str
) -> None:
    with pytest.raises(RefusalError, match=words):
        check(SiteLimits(**limits), wish)


@pytest.mark.parametrize(
    ("limits", "wish"),
    [
        ({}, {}),
        ({}, PROTOTYPES | {"prototypes.per_class": 10, "prototypes.min_cluster": 5}),
        ({"prototypes": 0}, {"prototypes.min_cluster": 1}),  # none are asked for
        ({"generator": ("moments",)}, {}),
        ({"generator": False}, {"generator.family": "none"}),
        ({"min_cluster": 1}, {"generator.family": "exact_moments"}),
        ({"least_samples": 60}, {}),
        ({"steps": 2000}, {}),
        ({"epsilon": 3.0, "expert": False}, {"privacy.epsilon": 1.0, "privacy.clip": 6.0}),
    ],
)
def test_a_wish_within_the_limits_passes(limits: dict[str, Any], wish: dict[str, Any]) -> None:
    check(SiteLimits(**limits), wish)


def test_steps_are_those_of_the_generator_too(digits: Dataset) -> None:
    images = Site(0, digits.subset(range(100)), "mlp:4")
    check(SiteLimits(steps=1500), {"train.max_steps": 10}, place=images)
    with pytest.raises(RefusalError, match=r"generator\.steps = 1500 is above limits\.steps = 1000"):
        check(SiteLimits(steps=1000), {"train.max_steps": 10}, place=images)
    with pytest.raises(RefusalError, match=r"max_steps = 5000 is above"):
        Custody(SiteLimits(steps=1000)).check_steps({"max_steps": 5000})


def test_rounds_and_sums_have_limits_of_their_own() -> None:
    with pytest.raises(RefusalError, match="a round has weights"):
        check(SiteLimits(expert=False), {}, ROUND)
    check(SiteLimits(expert=False), {}, JUDGEMENT)
    check(SiteLimits(expert=False), {}, ANSWER, site(model="answers"))
    with pytest.raises(RefusalError, match=r"sums over bins may be of one row each, and limits\.min_cluster is 5"):
        Custody(SiteLimits()).check_sums()
    Custody(SiteLimits(min_cluster=1)).check_sums()


@pytest.mark.parametrize(
    ("kind", "name"), [(CONTRIBUTION, "contributions"), (ROUND, "rounds"), (JUDGEMENT, "judged"), (ANSWER, "queries")]
)
def test_each_kind_is_counted_and_the_same_bytes_once(tmp_path: Path, kind: str, name: str) -> None:
    place = site()
    custody = Custody(SiteLimits(**{name: 2}), tmp_path / "log.jsonl")
    for content in (b"one", b"two", b"two", b"one"):
        custody.release(place, kind, content, None)
    with pytest.raises(RefusalError, match=rf"limits\.{name} = 2, and so many have left of these data"):
        custody.foresee(place, kind, None)
    with pytest.raises(RefusalError, match=rf"limits\.{name} = 2"):
        custody.release(place, kind, b"three", None)
    custody.foresee(site(vectors(seed=1)), kind, None)  # other data


def test_a_simulation_has_no_limits() -> None:
    config = Config().with_values(PROTOTYPES | {"prototypes.per_class": 1000, "prototypes.min_cluster": 1})
    Custody().check(site(), config, CPU, CONTRIBUTION)
    Custody().check_sums()
    Custody().release(site(), CONTRIBUTION, b"x", Statement(1.0, 1e-5))
    assert Custody().figures
    assert not Custody(SiteLimits()).figures


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"no table \[limits\]"),
        ("[limits]\nmin_clusters = 3", "did you mean limits.min_cluster"),
        ("[limits]\nmin_cluster = 0", "limits.min_cluster is 0, but it should be greater than or equal to 1"),
        ("[limits]\nepsilon = 0", "limits.epsilon is 0, but it should be greater than 0"),
        ("[limits]\ngenerator = 'cart'", "limits.generator is 'cart', but it should be true, false or families"),
        ("[limits]\ngenerator = ['carrt']", "should be true, false or families"),
        ("limits = 3", "limits is 3"),
    ],
)
def test_a_wrong_file_of_limits_is_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        read_limits(path)


def test_the_file_of_limits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text('client = 3\n[limits]\nepsilon = 3\ngenerator = ["moments"]\nmin_cluster = 8\n')
    assert read_limits(path) == SiteLimits(epsilon=3, generator=("moments",), min_cluster=8)


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., list[str]]:
    data = vectors()
    np.savez(tmp_path / "d.npz", features=data.samples.only.numpy(), labels=data.labels.numpy())
    (tmp_path / "own.toml").write_text("[limits]\nprototypes = 2\nepsilon = 3.0\n")

    def words(*more: str) -> list[str]:
        head = ["contribute", "--data", str(tmp_path / "d.npz"), "--classes", "3", "--client", "0"]
        return [*head, "--out", str(tmp_path / "a.contribution"), *more]

    return words


def test_the_command_says_which_limit_and_which_file(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = ["--model", "mlp:4", "--set", "meta.source=prototypes", "--set", "prototypes.per_class=5"]
    own = str(tmp_path / "own.toml")
    line = fails(capsys, *command(*wish, "--set", "prototypes.min_cluster=1"))
    assert "prototypes.min_cluster = 1 is below limits.min_cluster = 5" in line
    assert "--limits FILE" in line
    assert "own.toml: limits.epsilon = 3 is a budget" in fails(capsys, *command(*wish, "--limits", own))
    assert not (tmp_path / "a.contribution").exists()


def test_the_command_adds_up_and_refuses_what_is_beyond_the_budget(
    command: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with --force, into another file, and for another model."""
    private = ["--model", "discriminant", "--epsilon", "1.25", "--set", "privacy.clip=6", "--generator", "moments"]
    (tmp_path / "two.toml").write_text("[limits]\nepsilon = 2.0\n")
    own = ["--limits", str(tmp_path / "two.toml")]
    mosaic(*command(*private, *own), cwd=tmp_path)
    printed = mosaic(*command(*private, *own, "--force"), cwd=tmp_path)
    assert "ε = 1.75622, δ = 2e-05 in 2 releases (the budget is ε = 2;" in printed
    third = command("--model", "ridge", *private[2:], *own)
    third[third.index("--out") + 1] = str(tmp_path / "b.contribution")
    line = fails(capsys, *third)
    assert "limits.epsilon = 2: 1.756 is spent in 2 releases, and with this one of ε = 1.25 it would be 2.148" in line
    assert not (tmp_path / "b.contribution").exists()
    log = tmp_path / "d.npz.site-log.jsonl"
    assert log.exists()
    log.write_bytes(log.read_bytes().replace(b'"epsilon":1.25', b'"epsilon":0.25'))
    assert "it was altered" in fails(capsys, *third)
