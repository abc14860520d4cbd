"""The global model that learns from the ensemble on the generator's images."""

import math

import torch
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.models import build, default_student
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.trainable import trainable
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.divergences import kl_divergence
from mosaic_fl.training.steps import PlainStep

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
    loss = kl_divergence(teacher, student(images), temperature).mean()
    PlainStep(optimiser, longest)(loss)
    return float(loss.detach())
