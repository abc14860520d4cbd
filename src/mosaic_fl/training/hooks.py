"""Hooks of the training loop, which run after each step: schedules, averages, progress, checks, the best weights."""

import math

from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from mosaic_fl.errors import MosaicError
from mosaic_fl.numerics.states import State
from mosaic_fl.training.loop import Hook, StepTaken
from mosaic_fl.training.monitor import Monitor


def schedule(scheduler: LRScheduler) -> Hook:
    """A hook that moves the learning rate."""

    def hook(_: StepTaken) -> bool:
        scheduler.step()
        return False

    return hook


def average(averaged: AveragedModel, model: nn.Module) -> Hook:
    """A hook that takes the weights of `model` into their moving average."""

    def hook(_: StepTaken) -> bool:
        averaged.update_parameters(model)
        return False

    return hook


def progress(monitor: Monitor) -> Hook:
    """A hook that reports to `monitor` how far training is."""

    def hook(outcome: StepTaken) -> bool:
        monitor.progress(outcome.step + 1, outcome.steps)
        return False

    return hook


def every(interval: int, look: Hook, *, from_first: bool = False, last: bool = True) -> Hook:
    """A hook that calls `look` once in `interval` steps, and with `last` also after the last one.

    With `from_first` it does so after the steps 0, interval, 2·interval, …, else interval − 1, 2·interval − 1, ….
    """

    def hook(outcome: StepTaken) -> bool:
        count = outcome.step if from_first else outcome.step + 1
        return look(outcome) if count % interval == 0 or (last and outcome.is_last) else False

    return hook


def require_finite(figure: str, value: float, step: int, advice: str) -> None:
    """Raise MosaicError with the `advice` where the value of a `figure` of a step is not finite."""
    if not math.isfinite(value):
        raise MosaicError(f"{figure} is {value} after step {step}: training diverged; {advice}")


def log_generator(monitor: Monitor, lr: float) -> Hook:
    """A hook that logs a generator's loss; it raises MosaicError, with the rate `lr`, where the loss is not finite."""

    def hook(outcome: StepTaken) -> bool:
        value = outcome.loss.item()
        require_finite("the generator's loss", value, outcome.step, f"lower generator.lr (now {lr})")
        monitor.log(outcome.step, generator_loss=value)
        return False

    return hook


class BestWeights:
    """The weights of `candidate` with the least validation loss of all offers."""

    def __init__(self, candidate: nn.Module, patience: int = 0) -> None:
        """`patience` is after how many offers without a better loss training ends; 0: it never ends early."""
        self.candidate = candidate
        self.patience = patience
        self.loss = math.inf
        self.state: State | None = None
        self.offers_since_best = 0

    def offer(self, loss: float) -> bool:
        """Copy the present weights if `loss` is the least so far; returns whether training ends."""
        if loss < self.loss:
            self.loss = loss
            self.state = {name: tensor.detach().clone() for name, tensor in self.candidate.state_dict().items()}
            self.offers_since_best = 0
            return False
        self.offers_since_best += 1
        return 0 < self.patience <= self.offers_since_best

    @property
    def is_latest(self) -> bool:
        """Whether the latest offer was the best, or there was none."""
        return self.offers_since_best == 0

    def load_into(self, model: nn.Module) -> None:
        """Load the best weights into `model`, which keeps its own without any offer."""
        if self.state is not None:
            model.load_state_dict(self.state)
