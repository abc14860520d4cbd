"""Local training of a classifier (METHOD: pipeline step 1)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.client.objective import LatentTerm, Objective
from mosaic_fl.config import TrainConfig
from mosaic_fl.data.augmentation import augmentation_kind, augmented
from mosaic_fl.data.dataset import ImageData, to_float
from mosaic_fl.errors import MosaicError
from mosaic_fl.generators.latent import Latent
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import accuracy, logits
from mosaic_fl.models.trainable import trainable
from mosaic_fl.monitor import Monitor
from mosaic_fl.optimisation import adamw, batches, copy_state, cosine
from mosaic_fl.randomness import Stream


@dataclass(frozen=True)
class Trained:
    """What came of a training: steps done, and figures on the validation split (empty where there is none)."""

    steps: int
    validation: dict[str, float]


def steps_for(samples: int, config: TrainConfig) -> int:
    """Steps that `config.epochs` passes over `samples` take, within `min_steps` and `max_steps`."""
    a_pass = math.ceil(samples / min(config.batch_size, samples))
    return min(max(round(config.epochs * a_pass), config.min_steps), config.max_steps)


def train_classifier(
    model: Classifier,
    train: ImageData,
    validation: ImageData,
    config: TrainConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
    latent: Latent | None = None,
) -> Trained:
    """Train `model` in place on its `Objective`; it ends with the weights that were best on `validation`.

    Batches are varied as `config.augment` says; the validation split is not. With `latent`, a generator of features,
    its loss on those is a term of the objective too. With an empty validation split it trains to the end. The model
    comes back on the CPU in eval mode. Parameters that require no gradient stay as they are. Raises MosaicError where
    the loss is no longer finite, UsageError for a model without a parameter that learns.
    """
    trainable(model)
    steps, draw = steps_for(len(train), config), batches(len(train), config.batch_size, stream.torch())
    images, labels = train.images.to(device), train.labels.to(device)
    kind = augmentation_kind(config.augment, train.schema.shape[0])
    varied = replace(stream, stage=f"{stream.stage}/augment").torch()
    model.to(device).train()
    term = LatentTerm(latent, model, Stream(stream.seed, "latent", stream.client, stream.round)) if latent else None
    optimiser, objective = _optimiser(model, config), Objective(model, train.class_counts(), config, term)
    schedule = cosine(optimiser, steps) if config.schedule == "cosine" else None
    best, best_state, waited, step = math.inf, None, 0, 0
    with stream.ambient():  # dropout in a user's own model
        for step in range(steps):
            index = next(draw).to(device)
            loss = objective(to_float(augmented(images[index], kind, varied)), labels[index])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if schedule:
                schedule.step()
            monitor.progress(step + 1, steps)
            if (step + 1) % config.check_every and step + 1 < steps:
                continue
            _require_finite(loss.item(), step, config.lr)
            figures = score(model, validation, device, objective.supervised)
            monitor.log(step, loss=loss.item(), **{f"validation_{k}": v for k, v in figures.items() if k != "samples"})
            if not len(validation):
                continue
            if figures["loss"] < best:
                best, best_state, waited = figures["loss"], copy_state(model), 0
            elif config.patience and (waited := waited + 1) >= config.patience:
                break
    monitor.progress(steps, steps)  # it may have stopped early
    model.cpu().eval()
    if best_state is not None:
        model.load_state_dict(best_state)
    return Trained(step + 1, score(model, validation, torch.device("cpu"), objective.supervised))


def score(
    model: Classifier, data: ImageData, device: torch.device, loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
) -> dict[str, float]:
    """`samples`, and where there are any, `accuracy` in 0..1 and `loss`, of logits and labels, in nats."""
    if not len(data):
        return {"samples": 0}
    outputs = logits(model, data.images, device)
    return {
        "samples": len(data),
        "accuracy": accuracy(outputs, data.labels),
        "loss": float(loss(outputs, data.labels)),
    }


def _optimiser(model: Classifier, config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimiser == "adamw":
        return adamw(trainable(model), config)
    return torch.optim.SGD(
        trainable(model),
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _require_finite(loss: float, step: int, lr: float) -> None:
    if not math.isfinite(loss):
        raise MosaicError(f"the loss is {loss} after step {step}: training diverged; lower train.lr (now {lr})")
