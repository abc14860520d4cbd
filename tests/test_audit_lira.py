"""LiRA trains its shadow models as the expert was trained."""

import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch

import mosaic_fl
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config, TrainConfig
from mosaic_fl.experts.network import NETWORK
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.case import Case
from mosaic_fl.training.monitor import Recorder

attack = importlib.import_module("mosaic_fl.privacy.audit.attacks.lira")  # the package names its function so


def test_shadow_models_learn_by_the_settings_of_the_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    pictures = (torch.rand(80, 8, 8, generator=rng) * 255).byte().numpy()
    data = mosaic_fl.from_arrays(pictures, (torch.arange(80) % 2).numpy())
    config = Config().with_values(
        {"train.max_steps": 3, "train.weight_decay": 0.5, "train.augment": "shift", "generator.family": "none"}
    )
    sent = contribute(Site(0, data, "mlp:4:1"), config, torch.device("cpu"), lambda stage: Recorder(stage, 0))
    seen = list[TrainConfig]()

    def spy(*args: Any) -> Any:
        seen.append(args[3])
        return NETWORK.fit(*args)

    spied = replace(NETWORK, fit=spy)
    monkeypatch.setattr(attack, "NETWORK", spied)
    monkeypatch.setattr(attack, "kind_of", lambda name: spied)
    members, strangers = data.subset(torch.arange(40)), data.subset(torch.arange(40, 80))
    case = Case(sent, members, strangers, Stream(0, "audit", 0), 20.0, config.train)
    assert not isinstance(attack.lira(case), str)
    assert {(one.weight_decay, one.augment) for one in seen} == {(0.5, "shift")}
    assert max(one.max_steps for one in seen) <= 3
