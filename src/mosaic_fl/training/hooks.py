"""Hooks of the training loop: what happens after a step besides the step itself."""

import math

from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from mosaic_fl.errors import MosaicError
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.training.loop import Hook, StepTaken
from mosaic_fl.training.monitor import Monitor


def schedule(scheduler: LRScheduler) -> Hook:
    """Move the learning rate."""

    def hook(_: StepTaken) -> bool:
        scheduler.step()
        return False

    return hook


def average(averaged: AveragedModel, model: nn.Module) -> Hook:
    """Take the weights of `model` into their moving average."""

    def hook(_: StepTaken) -> bool:
        averaged.update_parameters(model)
        return False

    return hook


def progress(monitor: Monitor) -> Hook:
    """Tell `monitor` how far training is."""

    def hook(taken: StepTaken) -> bool:
        monitor.progress(taken.step + 1, taken.steps)
        return False

    return hook


def every(interval: int, look: Hook, *, from_first: bool = False, last: bool = True) -> Hook:
    """`look` after each `interval` steps; also after the first one, or the last one, where that is asked for.

    With `from_first` the steps 0, interval, 2·interval, … are looked at, else interval − 1, 2·interval − 1, ….
    """

    def hook(taken: StepTaken) -> bool:
        count = taken.step if from_first else taken.step + 1
        return look(taken) if count % interval == 0 or (last and taken.is_last) else False

    return hook


def require_finite(what: str, value: float, step: int, way_out: str) -> None:
    """Raise MosaicError, which names `what` and the `way_out`, where a figure of a step is no longer finite."""
    if not math.isfinite(value):
        raise MosaicError(f"{what} is {value} after step {step}: training diverged; {way_out}")


def log_generator(monitor: Monitor, lr: float) -> Hook:
    """Log a generator's loss; raises MosaicError where it is no longer finite at the rate `lr`."""

    def hook(taken: StepTaken) -> bool:
        value = taken.loss.item()
        require_finite("the generator's loss", value, taken.step, f"lower generator.lr (now {lr})")
        monitor.log(taken.step, generator_loss=value)
        return False

    return hook


class BestWeights:
    """The weights of `candidate` that had the least validation loss of all that were offered."""

    def __init__(self, candidate: nn.Module, patience: int = 0) -> None:
        """`patience`: how many offers in a row without a better one end training; 0: none do."""
        self.candidate = candidate
        self.patience = patience
        self.loss = math.inf
        self.state: State | None = None
        self.waited = 0

    def offer(self, loss: float) -> bool:
        """Keep the weights as they are now if `loss` is the least; returns whether training ends."""
        if loss < self.loss:
            self.loss = loss
            self.state = copy_state(self.candidate)
            self.waited = 0
            return False
        self.waited += 1
        return 0 < self.patience <= self.waited

    def load_into(self, model: nn.Module) -> None:
        """Give `model` the best weights; it keeps its own where none were offered."""
        if self.state is not None:
            model.load_state_dict(self.state)
