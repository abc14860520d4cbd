"""Distillation of a teacher into the one global model (docs/method.md, step 5)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.samples import Samples
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import accuracy, logits
from mosaic_fl.models.trainable import trainable
from mosaic_fl.numerics.placement import bring_back, settle
from mosaic_fl.numerics.precision import mixed
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.divergences import jensen_shannon, kl_divergence
from mosaic_fl.server.transfer import UNLABELLED
from mosaic_fl.training.batches import batches
from mosaic_fl.training.descent import can_be_captured, descend_on
from mosaic_fl.training.hooks import BestWeights, average, every, progress, require_finite, schedule
from mosaic_fl.training.loop import StepTaken, descend
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import adamw, averaged, cosine
from mosaic_fl.training.steps import PlainStep

CHECKS = 20  # looks at the hold-out in one training


@dataclass(frozen=True)
class Lesson:
    """What the student learns from: `samples` at rest, `teacher` log-probabilities (n, C), and `labels` (n,) or −1.

    `shares` (n,) in 0..1 is how far each sample's label counts; the teacher has the rest. Without it all labels count
    as the weights of the configuration say. A sample without a label has its teacher alone, whatever its share.
    """

    samples: Samples
    labels: Tensor
    teacher: Tensor
    shares: Tensor | None = None

    def at(self, index: Tensor) -> "Lesson":
        """The samples at `index`."""
        shares = None if self.shares is None else self.shares[index]
        return Lesson(self.samples[index], self.labels[index], self.teacher[index], shares)

    def divided(self, holdout: float, rng: torch.Generator) -> tuple["Lesson", "Lesson"]:
        """(what is learnt from, a share `holdout` of the samples that is not); at least one sample is learnt from."""
        order = torch.randperm(len(self.labels), generator=rng)
        cut = min(round(holdout * len(order)), len(order) - 1)
        return self.at(order[cut:]), self.at(order[:cut])

    def to(self, device: torch.device) -> "Lesson":
        """A copy on `device`."""
        shares = None if self.shares is None else self.shares.to(device)
        return Lesson(self.samples.to(device), self.labels.to(device), self.teacher.to(device), shares)


def distillation_loss(outputs: Tensor, lesson: Lesson, config: DistillConfig) -> Tensor:
    """kl·KL(teacher ‖ student) + label·CE(generator's label) + teacher_label·CE(argmax teacher) + jsd·JSD.

    `outputs` are the student's logits (n, C). For a sample without a label (−1) the label's weight goes to the KL term.
    With `lesson.shares` each sample divides the sum of both weights by its own share. The mean is over all n samples; a
    term of weight 0 is not computed.
    """
    shares = config.label_share if lesson.shares is None else lesson.shares
    label = (lesson.labels >= 0) * (config.both * shares)  # not torch.where: it would bring its 0 from the CPU
    kl = config.both - label
    loss = outputs.new_zeros(())
    if _counts(kl):
        loss = loss + (kl * kl_divergence(lesson.teacher, outputs, config.temperature)).mean()
    if _counts(label):
        each = F.cross_entropy(outputs, lesson.labels, ignore_index=UNLABELLED, reduction="none")
        loss = loss + (label * each).mean()
    if config.teacher_label:
        loss = loss + config.teacher_label * F.cross_entropy(outputs, lesson.teacher.argmax(1))
    if config.jsd:
        loss = loss + config.jsd * jensen_shannon(lesson.teacher, outputs, config.temperature).mean()
    return loss


def _counts(weights: Tensor) -> bool:
    """Whether a term with these weights can matter; an accelerator is not asked, since the answer takes a wait."""
    return weights.device.type != "cpu" or bool((weights > 0).any())


def train_student(
    student: Classifier,
    lesson: Lesson,
    config: DistillConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
    fresh: Callable[[int], Lesson] | None = None,
    holdout: Lesson | None = None,
) -> dict[str, float]:
    """Train `student` in place; returns its figures on the synthetic hold-out.

    The batch of step s is `fresh(s)` where that is given, else it is drawn from `lesson`; its samples are varied as
    `config.augment` says, and the teacher's word on them stays.

    It ends with the (averaged) weights whose distillation loss was least on the `holdout`, by default a part of the
    lesson that it does not learn from, on the CPU in eval mode. Raises MosaicError where the loss is no longer finite.
    """
    rng = stream.torch()
    if holdout is None:
        lesson, holdout = lesson.divided(config.holdout, rng)
    rest = lesson.to(device)
    checks = replace(holdout, samples=holdout.samples.to(device))
    settle(student.train(), device)
    smooth = averaged(student, config.ema) if config.ema else None
    best = BestWeights(smooth.module if smooth else student)
    optimiser = adamw(trainable(student), config)
    order = batches(len(rest.labels), config.batch_size, rng)
    augmentation = replace(stream, stage=f"{stream.stage}/augment").torch()
    planned = rest.samples.can_draw_changes(config.augment)

    def taught(part: Lesson, samples: Samples) -> Tensor:
        return distillation_loss(student(samples.inputs()), part, config)

    def fresh_loss(step: int) -> Tensor:
        assert fresh is not None
        part = fresh(step).to(device)
        with mixed(device, config.precision):
            return taught(part, part.samples.varied(config.augment, augmentation))

    def draw(_: int) -> tuple[Tensor, ...]:
        index = next(order)
        return (index, *rest.samples.draw_changes(len(index), config.augment, augmentation)) if planned else (index,)

    def loss(index: Tensor, *changes: Tensor) -> Tensor:
        part = rest.at(index)
        varied = part.samples.changed(*changes) if planned else part.samples.varied(config.augment, augmentation)
        return taught(part, varied)

    def look(taken: StepTaken) -> bool:
        value = taken.loss.item()
        require_finite("the student's loss", value, taken.step, f"lower distill.lr (now {config.lr})")
        with mixed(device, config.precision):
            figures = _score(best.candidate, checks, config, device)
        monitor.log(taken.step, loss=value, **figures)
        return best.offer(figures.get("holdout_loss", -taken.step))  # without a hold-out the latest are the best

    hooks = [schedule(cosine(optimiser, config.steps))] if config.schedule == "cosine" else []
    hooks += [average(smooth, student)] if smooth else []
    hooks += [progress(monitor), every(max(1, config.steps // CHECKS), look)]
    with stream.ambient():
        update = PlainStep(optimiser)
        if fresh:
            descend(fresh_loss, update, config.steps, hooks)
        else:
            capturable = planned and can_be_captured(student)
            precision = config.precision
            descend_on(device, draw, loss, update, config.steps, hooks, precision=precision, capturable=capturable)
    best.load_into(student.eval())
    figures = _score(student, checks, config, device)
    bring_back(student)
    return figures


def _score(model: torch.nn.Module, holdout: Lesson, config: DistillConfig, device: torch.device) -> dict[str, float]:
    """Loss and agreement with both labels on the hold-out; nothing where there is none."""
    if not len(holdout.labels):
        return {}
    outputs = logits(model, holdout.samples, device)
    labelled = holdout.labels >= 0
    return {
        "holdout_loss": float(distillation_loss(outputs, holdout, config)),
        "holdout_accuracy": accuracy(outputs[labelled], holdout.labels[labelled]),
        "holdout_agreement": accuracy(outputs, holdout.teacher.argmax(1)),
    }
