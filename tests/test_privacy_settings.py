"""A setting of privacy that an engine or a method does not carry is an error before any work, and never dropped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mosaic_fl
from command import fails
from mosaic_fl.config import Config
from mosaic_fl.config.privacy import PrivacyConfig
from mosaic_fl.config.privacy_checks import check_private
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from test_private_contribution import clouds

OTHERS = {
    "delta": 1e-6, "clip": 4.0, "counts": 0.1, "squares": 0.2, "expert": 0.4, "latents": 0.2, "rate": 0.1,
    "gradient": 2.0, "lr": 0.02,
}  # fmt: skip


def test_every_setting_is_tested_here() -> None:
    assert set(OTHERS) | {"epsilon"} == set(PrivacyConfig.model_fields)


@pytest.mark.parametrize("name", list(OTHERS))
def test_a_setting_without_an_epsilon_is_refused_wherever_it_comes_from(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = {f"privacy.{name}": OTHERS[name]}
    words = f"privacy.{name} without an epsilon above 0 adds no noise"
    data = clouds(60)
    with pytest.raises(UsageError, match=words):
        Config().with_values(setting)
    calls: list[Callable[[], Any]] = [
        lambda: mosaic_fl.contribute(data, model="discriminant", client=0, settings=setting),
        lambda: mosaic_fl.run("mosaic", data, settings=setting),
        lambda: mosaic_fl.compare(["mosaic"], data, settings=setting),
        lambda: mosaic_fl.distill([], settings=setting),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=words):
            call()
    file = tmp_path / "settings.toml"
    file.write_text(f"[privacy]\n{name} = {OTHERS[name]}\n")
    assert words in fails(capsys, "run", str(file), "--out", str(tmp_path / "r"))
    assert "adds no noise" in fails(capsys, "run", "--set", f"privacy.{name}={OTHERS[name]}", "--out", str(tmp_path))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "mosaic"])
def test_a_method_without_noise_refuses_an_epsilon(method: str, tmp_path: Path) -> None:
    """In a simulation by either engine, in a comparison, and in the check that a deployed server makes."""
    defaults = dict(METHODS[method].defaults)
    settings = defaults | {"run.method": method, "privacy.epsilon": 1.0, "privacy.clip": 6.0}
    with pytest.raises(UsageError, match=f"method {method} sends more"):
        check_private(Config().with_values(settings))
    private = {"privacy.epsilon": 1.0, "privacy.clip": 6.0, "partition.clients": 2}
    for engine in ("local", "flower"):
        with pytest.raises(UsageError):
            mosaic_fl.run(method, clouds(60), settings=private | {"run.engine": engine})


def test_the_commands_refuse_it_before_they_read_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = clouds(60)
    np.savez(tmp_path / "d.npz", features=data.samples.only.numpy(), labels=data.labels.numpy())
    own = ["--data", str(tmp_path / "d.npz"), "--out", str(tmp_path / "r"), "--epsilon", "1", "--set", "privacy.clip=6"]
    for engine in ("local", "flower"):
        line = fails(capsys, "run", "--method", "fedcgs", "--engine", engine, *own)
        assert "method fedcgs sends more" in line
    contributing = ["contribute", "--client", "0", "--classes", "3", *own]
    assert "model 'random_forest' has no noise" in fails(capsys, *contributing, "--model", "random_forest")
    assert "not from generator cvae" in fails(capsys, *contributing, "--model", "discriminant", "--generator", "cvae")
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / "d.npz.site-log.jsonl").exists()
