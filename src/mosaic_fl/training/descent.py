"""Training on any device: the loop of `loop`, with what keeps an accelerator busy around it."""

from collections.abc import Callable, Sequence
from contextlib import closing

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW

from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import Precision
from mosaic_fl.numerics.placement import send
from mosaic_fl.numerics.precision import mixed
from mosaic_fl.training.ahead import Draw, drawn_ahead
from mosaic_fl.training.graphed import GraphedStep
from mosaic_fl.training.loop import Hook, descend
from mosaic_fl.training.steps import PlainStep

LEAST_GRAPHED = 20  # steps: a capture takes as long as several of them


def can_be_captured(model: nn.Module) -> bool:
    """Whether passes of `model` can be captured as a CUDA graph; a module says where not: see `models.classifier`."""
    return all(getattr(module, "can_be_captured", True) for module in model.modules())


def descend_on(
    device: torch.device,
    draw: Draw,
    loss: Callable[..., Tensor],
    update: PlainStep,
    steps: int,
    hooks: Sequence[Hook] = (),
    *,
    precision: Precision = "auto",
    capturable: bool = False,
) -> int:
    """Take `steps` steps of `update` down `loss(*draw(step))`, or fewer where a hook ends training; returns how many.

    `draw` gives tensors of the CPU, and `loss` gets them on `device`. On the CPU this is `descend`. On CUDA draws are
    made ahead, layers calculate as `precision` says, and with `capturable` steps are one CUDA graph: then the tensors
    of all steps have equal shapes, and `loss` does not wait for the device. Draws, and so results up to rounding, are
    those of the CPU.
    """
    if device.type != "cuda":
        return descend(lambda step: loss(*(tensor.to(device) for tensor in draw(step))), update, steps, hooks)

    def lowered(*tensors: Tensor) -> Tensor:
        with mixed(device, precision):
            return loss(*tensors)

    with closing(drawn_ahead(draw, steps)) as draws:
        if not (capturable and steps >= LEAST_GRAPHED and isinstance(update.optimiser, Adam | AdamW)):
            return descend(lambda _: lowered(*(send(t, device) for t in next(draws))), update, steps, hooks)
        graphed = GraphedStep(lowered, update, device)
        try:
            return descend(lambda _: graphed(next(draws)), lambda _: None, steps, hooks)
        finally:
            graphed.close()
            if graphed.reason:
                note(f"training runs without a CUDA graph, which is slower: {graphed.reason}")
