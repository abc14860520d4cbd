"""Distillation of a teacher into the one global model (METHOD: pipeline step 5)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.data.augmentation import augmentation_kind, augmented
from mosaic_fl.data.dataset import to_float
from mosaic_fl.errors import MosaicError
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import accuracy, logits
from mosaic_fl.models.trainable import trainable
from mosaic_fl.monitor import Monitor
from mosaic_fl.optimisation import adamw, averaged, batches, copy_state, cosine
from mosaic_fl.randomness import Stream
from mosaic_fl.server.losses import jensen_shannon, kl_divergence
from mosaic_fl.server.transfer import UNLABELLED

CHECKS = 20  # looks at the hold-out in one training


@dataclass(frozen=True)
class Lesson:
    """What the student learns from: uint8 `images`, `teacher` log-probabilities (n, C), and `labels` (n,) or −1."""

    images: Tensor
    labels: Tensor
    teacher: Tensor

    def at(self, index: Tensor) -> "Lesson":
        """The samples at `index`."""
        return Lesson(self.images[index], self.labels[index], self.teacher[index])

    def to(self, device: torch.device) -> "Lesson":
        """A copy on `device`."""
        return Lesson(self.images.to(device), self.labels.to(device), self.teacher.to(device))


def distillation_loss(outputs: Tensor, lesson: Lesson, config: DistillConfig) -> Tensor:
    """kl·KL(teacher ‖ student) + label·CE(generator's label) + teacher_label·CE(argmax teacher) + jsd·JSD.

    `outputs` are the student's logits (n, C). For a sample without a label (−1) the label's weight goes to the KL term.
    The mean is over all n samples; a term of weight 0 is not computed.
    """
    known = lesson.labels >= 0
    kl = torch.where(known, config.kl, config.kl + config.label)
    loss = outputs.new_zeros(())
    if config.kl or (config.label and not bool(known.all())):
        loss = loss + (kl * kl_divergence(lesson.teacher, outputs, config.temperature)).mean()
    if config.label:
        each = F.cross_entropy(outputs, lesson.labels, ignore_index=UNLABELLED, reduction="sum")
        loss = loss + config.label * each / len(outputs)
    if config.teacher_label:
        loss = loss + config.teacher_label * F.cross_entropy(outputs, lesson.teacher.argmax(1))
    if config.jsd:
        loss = loss + config.jsd * jensen_shannon(lesson.teacher, outputs, config.temperature).mean()
    return loss


def train_student(
    student: Classifier,
    lesson: Lesson,
    config: DistillConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
    fresh: Callable[[int], Lesson] | None = None,
) -> dict[str, float]:
    """Train `student` in place; returns its figures on the synthetic hold-out.

    The batch of step s is `fresh(s)` where that is given, else it is drawn from `lesson`; its images are varied as
    `config.augment` says, and the teacher's word on them stays.

    It ends with the (averaged) weights whose distillation loss was least on the held-back part of the pool, on the
    CPU in eval mode. Raises MosaicError where the loss is no longer finite.
    """
    rng = stream.torch()
    order = torch.randperm(len(lesson.labels), generator=rng)
    cut = min(round(config.holdout * len(order)), len(order) - 1)
    held, rest = lesson.at(order[:cut]), lesson.at(order[cut:]).to(device)
    student.to(device).train()
    average = averaged(student, config.ema) if config.ema else None
    candidate = average.module if average else student
    optimiser, draw = adamw(trainable(student), config), batches(len(rest.labels), config.batch_size, rng)
    schedule = cosine(optimiser, config.steps) if config.schedule == "cosine" else None
    kind = augmentation_kind(config.augment, held.images.shape[1])
    varied = replace(stream, stage=f"{stream.stage}/augment").torch()
    best, best_state = math.inf, None
    every = max(1, config.steps // CHECKS)
    with stream.ambient():
        for step in range(config.steps):
            part = fresh(step).to(device) if fresh else rest.at(next(draw).to(device))
            loss = distillation_loss(student(to_float(augmented(part.images, kind, varied))), part, config)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            if schedule:
                schedule.step()
            if average:
                average.update_parameters(student)
            monitor.progress(step + 1, config.steps)
            if (step + 1) % every and step + 1 < config.steps:
                continue
            if not math.isfinite(loss.item()):
                raise MosaicError(f"the student's loss is {loss.item()} after step {step}: lower distill.lr")
            figures = _score(candidate, held, config, device)
            monitor.log(step, loss=loss.item(), **figures)
            if figures.get("holdout_loss", -step) < best:
                best, best_state = figures.get("holdout_loss", -step), copy_state(candidate)
    student.cpu().eval()
    if best_state is not None:
        student.load_state_dict(best_state)
    return _score(student, held, config, torch.device("cpu"))


def _score(model: torch.nn.Module, held: Lesson, config: DistillConfig, device: torch.device) -> dict[str, float]:
    """Loss and agreement with both labels on the hold-out; nothing where there is none."""
    if not len(held.labels):
        return {}
    outputs, known = logits(model, held.images, device), held.labels >= 0
    return {
        "holdout_loss": float(distillation_loss(outputs, held, config)),
        "holdout_accuracy": accuracy(outputs[known], held.labels[known]),
        "holdout_agreement": accuracy(outputs, held.teacher.argmax(1)),
    }
