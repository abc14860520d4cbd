"""Local training of a classifier (docs/method.md, step 1)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.objective import LatentTerm, Objective
from mosaic_fl.generators.latent import Latent
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import accuracy
from mosaic_fl.models.trainable import trainable
from mosaic_fl.numerics.placement import bring_back, settle
from mosaic_fl.numerics.precision import mixed
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.batches import batches
from mosaic_fl.training.descent import can_be_captured, descend_on
from mosaic_fl.training.hooks import BestWeights, every, progress, require_finite, schedule
from mosaic_fl.training.loop import StepTaken
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import adamw, cosine
from mosaic_fl.training.steps import PlainStep


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training: the number of steps, and figures on the validation split (empty without a split)."""

    steps: int
    validation: dict[str, float]


def steps_for(samples: int, config: TrainConfig) -> int:
    """Steps that `config.epochs` passes over `samples` take, within `min_steps` and `max_steps`."""
    a_pass = math.ceil(samples / min(config.batch_size, samples))
    return min(max(round(config.epochs * a_pass), config.min_steps), config.max_steps)


def train_classifier(
    model: Classifier,
    train: Dataset,
    validation: Dataset,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
    latent: Latent | None = None,
) -> TrainingResult:
    """Train `model` in place on its `Objective`; it ends with the weights that were best on `validation`.

    Batches are augmented by `config.augment`, the validation split is not. With `latent`, a generator of features, its
    loss on those is a term of the objective too. With an empty validation split the last weights are taken. The model
    ends on the CPU in eval mode. Parameters that require no gradient do not change. Raises MosaicError where the loss
    is no longer finite, UsageError for a model without a parameter that learns.
    """
    trainable(model)
    steps = steps_for(len(train), config)
    order = batches(len(train), config.batch_size, stream.torch())
    samples = train.samples.to(device)
    labels = train.labels.to(device)
    checks = replace(validation, samples=validation.samples.to(device))
    augmentation = replace(stream, stage=f"{stream.stage}/augment").torch()
    settle(model.train(), device)
    term = LatentTerm(latent, model, Stream(stream.seed, "latent", stream.client, stream.round)) if latent else None
    objective = Objective(model, train.class_counts(), config, term)
    optimiser = optimiser_of(model, config)
    best = BestWeights(model, config.patience)
    scored = dict[int, dict[str, float]]()  # the figures of the latest look, by the number of steps before it

    planned = samples.can_draw_changes(config.augment)

    def draw(_: int) -> tuple[Tensor, ...]:
        index = next(order)
        return (index, *samples.draw_changes(len(index), config.augment, augmentation)) if planned else (index,)

    def loss(index: Tensor, *changes: Tensor) -> Tensor:
        batch = samples[index]
        batch = batch.changed(*changes) if planned else batch.varied(config.augment, augmentation)
        return objective(batch.inputs(), labels[index])

    def look(state: StepTaken) -> bool:
        value = state.loss.item()
        require_finite("the loss", value, state.step, f"lower train.lr (now {config.lr})")
        with mixed(device, config.precision):
            figures = score(model, checks, device, objective.supervised)
        scored.clear()
        scored[state.step + 1] = figures
        logs = {f"validation_{name}": figure for name, figure in figures.items() if name != "samples"}
        monitor.log(state.step, loss=value, **logs)
        return len(validation) > 0 and best.offer(figures["loss"])

    hooks = [schedule(cosine(optimiser, steps))] if config.schedule == "cosine" else []
    hooks += [progress(monitor), every(config.check_every, look)]
    with stream.ambient():  # for dropout in a user's own model
        capturable = device.type == "cuda" and planned and latent is None and can_be_captured(model)
        update = PlainStep(optimiser)
        count = descend_on(device, draw, loss, update, steps, hooks, precision=config.precision, capturable=capturable)
    monitor.progress(steps, steps)  # it may have stopped early
    model.eval()
    if best.is_latest and count in scored and device.type == "cpu":  # elsewhere a look may be of lower precision
        figures = scored[count]
    else:
        best.load_into(model)
        figures = score(model, checks, device, objective.supervised)
    bring_back(model)
    return TrainingResult(count, figures)


def score(
    expert: Expert, data: Dataset, device: torch.device, loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
) -> dict[str, float]:
    """`samples`, and where there are any, `accuracy` in 0..1 and `loss`, of log-probabilities and labels, in nats."""
    if not len(data):
        return {"samples": 0}
    outputs = expert.log_probabilities(data.samples, device)
    return {
        "samples": len(data),
        "accuracy": accuracy(outputs, data.labels),
        "loss": float(loss(outputs, data.labels)),
    }


def optimiser_of(model: Classifier, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser of the settings, on the parameters of `model` that learn."""
    if config.optimiser == "adamw":
        return adamw(trainable(model), config)
    return torch.optim.SGD(
        trainable(model),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=True,
    )
