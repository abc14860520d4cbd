"""A student that learns from the labels of drawn samples alone, without a teacher."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.student import Lesson, train_student
from mosaic_fl.training.monitor import Monitor

FIELD = "sample/"  # prefix of the samples' fields in the pool's stage


def label_settings(config: DistillConfig) -> DistillConfig:
    """The settings without prior samples, and with cross-entropy with the label alone."""
    return config.model_copy(update={"prior": "none", "kl": 0.0, "label": 1.0, "teacher_label": 0.0, "jsd": 0.0})


def learn_labels(
    architecture: str,
    schema: Schema,
    samples: Samples,
    labels: Tensor,
    settings: DistillConfig,
    seed: int,
    device: torch.device,
    monitor: Monitor,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state of a new network that learnt from `samples` with `labels` (n,), and its figures on held-out ones."""
    with Stream(seed, "student-init").ambient():
        student = build(architecture, schema)
    teacher = F.one_hot(labels, schema.num_classes).float()  # the label
    lesson = Lesson(samples, labels, teacher)
    holdout = train_student(student, lesson, settings, Stream(seed, "student"), device, monitor)
    return copy_state(student), {"holdout": holdout}
