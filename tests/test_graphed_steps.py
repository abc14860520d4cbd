"""CUDA graphs of training steps, with stand-ins for CUDA: a capture takes no step, a replay takes the captured one."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from mosaic_fl.training import graphed
from mosaic_fl.training.graphed import WARM_UP, GraphedStep
from mosaic_fl.training.hooks import schedule
from mosaic_fl.training.loop import descend
from mosaic_fl.training.optimisers import cosine
from mosaic_fl.training.steps import PlainStep

STEPS = 12


class Training:
    """A line fitted by AdamW and a schedule, by hand or by graphed steps."""

    def __init__(self) -> None:
        self.line = nn.Linear(2, 1, bias=False)
        nn.init.constant_(self.line.weight, 1.0)
        self.optimiser = torch.optim.AdamW(self.line.parameters(), lr=0.1, fused=True)
        self.schedule = schedule(cosine(self.optimiser, STEPS))
        self.update = PlainStep(self.optimiser, 1.0)
        self.losses = list[float]()

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        return (self.line(x) - 3).square().mean()

    def note_loss(self, taken: Any) -> bool:
        self.losses.append(taken.loss.item())
        return False

    @property
    def hooks(self) -> list[Any]:
        return [self.schedule, self.note_loss]


def batch(step: int) -> tuple[torch.Tensor]:
    return (torch.randn(4, 2, generator=torch.Generator().manual_seed(step)),)


def by_hand() -> Training:
    training = Training()
    descend(lambda step: training.loss(*batch(step)), training.update, STEPS, training.hooks)
    return training


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """CUDA's streams and graphs as a CPU can have them; "step" is the graphed step, "replays" counts."""
    world: dict[str, Any] = {"replays": 0, "fault": None}

    class Stream:
        def __init__(self, device: Any = None) -> None: ...
        def wait_stream(self, other: Any) -> None: ...

    class Graph:
        def replay(self) -> None:
            step = world["step"]
            value = step.loss(*step._inputs)
            step.update(value)
            step._value.copy_(value.detach())
            world["replays"] += 1

    @contextmanager
    def capture(graph: Any, **_: Any) -> Iterator[None]:
        optimiser = world["step"].update.optimiser
        before = copy.deepcopy((optimiser.param_groups[0]["params"], dict(optimiser.state)))
        yield
        if world["fault"]:
            raise RuntimeError(world["fault"])
        for parameter, was in zip(optimiser.param_groups[0]["params"], before[0], strict=True):
            parameter.data.copy_(was)
            for name, tensor in optimiser.state[parameter].items():
                tensor.copy_(next(iter(before[1].values()))[name])

    names = {"Stream": Stream, "CUDAGraph": Graph, "graph": capture, "current_stream": Stream}
    for name, thing in {**names, "stream": lambda _: nullcontext()}.items():
        monkeypatch.setattr(graphed.torch.cuda, name, thing)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    return world


def by_graph(world: dict[str, Any]) -> tuple[Training, GraphedStep]:
    training = Training()
    step = world["step"] = GraphedStep(training.loss, training.update, torch.device("cpu"))
    descend(lambda number: step(batch(number)), lambda _: None, STEPS, training.hooks)
    return training, step


def test_replayed_steps_are_those_of_a_plain_loop_with_its_schedule(stand_ins: dict[str, Any]) -> None:
    plain = by_hand()
    training, step = by_graph(stand_ins)
    assert stand_ins["replays"] == STEPS - WARM_UP
    assert training.losses == pytest.approx(plain.losses, rel=1e-5)
    assert torch.allclose(training.line.weight, plain.line.weight, rtol=1e-5)
    step.close()
    assert training.line.weight.grad is None


def test_a_step_that_cannot_be_captured_runs_as_ever(stand_ins: dict[str, Any]) -> None:
    stand_ins["fault"] = "operation not permitted when stream is capturing\nmore"

    plain = by_hand()
    training = Training()
    step = stand_ins["step"] = GraphedStep(training.loss, training.update, torch.device("cpu"))
    captured: list[torch.Tensor] = []

    def capture() -> bool:  # a real one takes no step: what the stand-in did to the weights is undone
        state = copy.deepcopy((training.line.state_dict(), training.optimiser.state_dict()))
        result = GraphedStep._capture(step)
        training.line.load_state_dict(state[0])
        rates = training.optimiser.param_groups[0]["lr"]
        training.optimiser.load_state_dict(state[1])
        assert isinstance(rates, float)
        captured.append(training.line.weight)
        return result

    step._capture = capture  # type: ignore[method-assign]
    descend(lambda number: step(batch(number)), lambda _: None, STEPS, training.hooks)
    assert step.reason == "operation not permitted when stream is capturing"
    assert len(captured) == 1
    assert stand_ins["replays"] == 0
    assert training.losses == pytest.approx(plain.losses, rel=1e-5)
