"""No client trains where it is certain that none will have a generator and the method lives on those."""

from pathlib import Path
from typing import Any

import pytest

from command import QUICK, fails, mosaic
from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.runs.runner import prepare

# 40 samples at 2 clients: at most 30 at either, and fewer once its validation split is held out.
SMALL = {"data.max_train": 40, "partition.clients": 2, "partition.alpha": 10.0, "data.validation": 0.3}


def small(method: str = "mosaic", **more: Any) -> Config:
    family = {"generator.family": "cvae"} if method == "fedcvae" else {}
    return Config().with_values({**SMALL, "run.method": method, "models.clients": ["mlp:4"], **family, **more})


@pytest.mark.parametrize("method", ["mosaic", "feddf", "fedcvae"])
def test_clients_that_are_all_too_small(method: str) -> None:
    alone = small(method, **{"generator.min_samples": 25})
    with pytest.raises(UsageError, match=r"generator.min_samples = 25 .* \(the largest has \d+\)") as caught:
        prepare(alone)
    assert "lower generator.min_samples, take fewer clients" in str(caught.value)
    assert ("--prior photos" in str(caught.value)) == (method != "fedcvae")


def test_the_largest_client_alone_settles_it() -> None:
    sizes = [len(site.data) for site in prepare(small(**{"generator.min_samples": 2, "data.validation": 0})).sites]
    prepare(small(**{"generator.min_samples": max(sizes), "data.validation": 0}))
    with pytest.raises(UsageError, match=f"the largest has {max(sizes)}"):
        prepare(small(**{"generator.min_samples": max(sizes) + 1, "data.validation": 0}))


def test_prior_images_help_all_but_fedcvae() -> None:
    few = {"generator.min_samples": 1000, "distill.prior": "procedural"}
    for method in ("mosaic", "feddf"):
        prepare(small(method, **few))
        with pytest.raises(UsageError, match="the largest has"):
            prepare(small(method, **few, **{"distill.prior_pool": 0}))
    with pytest.raises(UsageError, match="the largest has"):
        prepare(small("fedcvae", **few))


@pytest.mark.parametrize("method", ["fedavg", "dense", "mean_logits", "fens"])
def test_methods_without_generators_need_none(method: str) -> None:
    none = {} if method == "fedavg" else {"generator.family": "none"}
    prepare(small(method, **{"generator.min_samples": 1000}, **none))


def test_it_is_said_before_the_folder_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--clients", "2", "--alpha", "10", "--workers", "1", "--set", "data.max_train=40", *QUICK]
    assert "lower generator.min_samples" in fails(capsys, *words, "--set", "generator.min_samples=30")
    assert not Path("runs").exists()
    mosaic(*words, "--set", "generator.min_samples=2", "--out", "run", cwd=tmp_path)


def test_prior_images_are_nothing_a_meta_model_could_learn_from() -> None:
    few = {"generator.min_samples": 1000, "distill.prior": "procedural"}
    with pytest.raises(UsageError, match="nothing that a meta model could learn from") as caught:
        prepare(small(**few, **{"distill.teacher": "meta"}))
    assert "--prior" not in str(caught.value)
    prepare(small(**few, **{"distill.teacher": "class_weighted", "distill.choose": False}))


@pytest.mark.parametrize(("method", "more"), [("mosaic", {"distill.choose": True}), ("best_local", {}), ("fens", {})])
def test_nobody_holds_a_sample_back_to_decide_by(method: str, more: dict[str, Any]) -> None:
    few = {"data.max_train": 200, "data.validation": 0.01, **more}  # a class needs 100 samples to give one
    with pytest.raises(UsageError, match="no client holds a validation sample back, by which"):
        prepare(small(method, **few))
    prepare(small(method, **few | {"data.validation": 0.3}))
