"""The global model that learns from the ensemble on the generator's images."""

import math

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.data.schema import Schema
from mosaic_fl.models import build, default_student
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.trainable import trainable
from mosaic_fl.randomness import Stream
from mosaic_fl.server.losses import kl_divergence

MOMENTUM = 0.9  # of the student's SGD, in DENSE, Co-Boosting and DFRD


def new_student(config: Config, schema: Schema) -> tuple[str, Classifier]:
    """The architecture and freshly initialised weights of the global model, the same ones for every method."""
    architecture = config.models.student or default_student(schema)
    with Stream(config.run.seed, "student-init").ambient():
        return architecture, build(architecture, schema)


def sgd(student: Classifier, settings: SynthesisConfig, weight_decay: float = 0.0) -> torch.optim.SGD:
    """The student's optimiser."""
    rate = settings.student_lr
    return torch.optim.SGD(trainable(student), lr=rate, momentum=MOMENTUM, weight_decay=weight_decay)


def learn(
    student: Classifier,
    optimiser: torch.optim.Optimizer,
    images: Tensor,
    teacher: Tensor,
    temperature: float,
    longest: float = math.inf,
) -> float:
    """One step down T²·KL(teacher ‖ student) on float `images`, for teacher logits (n, C); returns the loss in nats."""
    student.train()
    return descend(optimiser, kl_divergence(teacher, student(images), temperature).mean(), longest)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, longest: float = math.inf) -> float:
    """One step of `optimiser` down `loss`, with a gradient of norm `longest` at most; returns the loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if longest < math.inf:
        clip_grad_norm_([p for group in optimiser.param_groups for p in group["params"]], longest)
    optimiser.step()
    return float(loss.detach())
