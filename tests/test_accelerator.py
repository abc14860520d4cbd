"""The draws, steps and benchmark of accelerators, as far as a CPU can tell."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mosaic_fl import release
from mosaic_fl.domains.image.kind import Image
from mosaic_fl.domains.samples import Samples
from mosaic_fl.models.classifier import Wrapper
from mosaic_fl.numerics.placement import bring_back, send, settle
from mosaic_fl.numerics.precision import mixed
from mosaic_fl.training.ahead import AHEAD, drawn_ahead
from mosaic_fl.training.descent import can_be_captured, descend_on
from mosaic_fl.training.loop import descend
from mosaic_fl.training.steps import PlainStep

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


@pytest.mark.parametrize("steps", [0, 1, AHEAD, 3 * AHEAD + 1])
def test_draws_made_ahead_are_those_of_a_plain_loop(steps: int) -> None:
    plain = torch.Generator().manual_seed(7)
    ahead = torch.Generator().manual_seed(7)
    draws = drawn_ahead(lambda step: (torch.tensor(step), torch.randn(3, generator=ahead)), steps)
    for step, (number, values) in enumerate(draws):
        assert int(number) == step
        assert torch.equal(values, torch.randn(3, generator=plain))
    assert step + 1 == steps if steps else not list(draws)


def test_a_fault_in_a_draw_arrives_at_its_step_and_early_ends_leave_no_thread() -> None:
    def draw(step: int) -> tuple[torch.Tensor]:
        if step == 2:
            raise ValueError("no draw")
        return (torch.tensor(step),)

    draws = drawn_ahead(draw, 100)
    assert [int(value) for (value,) in itertools.islice(draws, 2)] == [0, 1]
    with pytest.raises(ValueError, match="no draw"):
        next(draws)
    begun = []
    early = drawn_ahead(lambda step: (begun.append(step), (torch.tensor(step),))[1], 1000)
    next(early)
    early.close()  # waits for its thread
    assert len(begun) <= AHEAD + 1


def test_on_the_cpu_training_is_the_plain_loop() -> None:
    def train(*, plain: bool) -> torch.Tensor:
        layer = nn.Linear(2, 1, bias=False)
        nn.init.constant_(layer.weight, 1.0)
        rng = torch.Generator().manual_seed(0)
        update = PlainStep(torch.optim.SGD(layer.parameters(), lr=0.1))

        def draw(_: int) -> tuple[torch.Tensor]:
            return (torch.randn(4, 2, generator=rng),)

        def loss(x: torch.Tensor) -> torch.Tensor:
            return layer(x).square().mean()

        if plain:
            assert descend(lambda step: loss(*draw(step)), update, 5) == 5
        else:
            assert descend_on(CPU, draw, loss, update, 5, capturable=True) == 5
        return layer.weight.detach()

    assert torch.equal(train(plain=True), train(plain=False))


def test_changes_drawn_apart_are_those_of_varied() -> None:
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    samples = Samples({"image": Image((3, 8, 8))}, {"image": images})
    assert samples.can_draw_changes("shift_flip")
    for setting in ("auto", "none", "flip", "shift", "shift_flip"):
        changes = samples.draw_changes(6, setting, torch.Generator().manual_seed(3))
        assert len(changes) == (0 if setting == "none" else 2)
        varied = samples.varied(setting, torch.Generator().manual_seed(3))
        assert torch.equal(samples.changed(*changes).only, varied.only)


def test_a_foreign_module_is_not_captured() -> None:
    assert can_be_captured(nn.Sequential(nn.Linear(1, 1)))
    assert not can_be_captured(nn.Sequential(Wrapper(nn.Linear(1, 1))))


def test_the_cpu_calculates_in_float32_and_keeps_its_layout() -> None:
    layer = nn.Conv2d(2, 2, 3)
    weight = layer.weight.detach().clone()
    settle(layer, CPU)
    with mixed(CPU, "auto"):
        assert layer(torch.ones(1, 2, 4, 4)).dtype == torch.float32
    bring_back(layer)
    assert torch.equal(layer.weight, weight)
    assert layer.weight.is_contiguous()
    assert send(weight, CPU) is weight


def test_a_copy_without_metadata_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> str:
        raise release.PackageNotFoundError

    monkeypatch.setattr(release, "version", absent)
    assert release.release.__wrapped__() == release.UNINSTALLED


def test_the_benchmark_runs_and_tells_of_each_part(tmp_path: Path) -> None:
    words = [
        sys.executable,
        str(ROOT / "benchmarks/accelerator.py"),
        "--tiny",
        "--device",
        "cpu",
        "--out",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run([*words, "--part", "a,b,c"], check=True, env=environment, capture_output=True, timeout=300)
    parts = json.loads((tmp_path / "accelerator.json").read_text())
    assert {name: part["state"] for name, part in parts.items()} == dict.fromkeys("abc", "whole")
    assert parts["a"]["ok"]
    assert {row["way"] for row in parts["b"]["rows"]} >= {"plain loop, float32", "plain loop, bfloat16", "ours"}
    assert all(row["images_a_second"] > 0 for row in parts["b"]["rows"])
    assert [row["name"] for row in parts["c"]["rows"]] == ["default"]
    assert 0 <= parts["c"]["rows"][0]["accuracy"] <= 1
    assert "## Part c" in (tmp_path / "accelerator.md").read_text()
