"""Distillation into gradient-boosted trees: XGBoost on the teacher's probabilities and the generators' labels."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosaic_fl import extras
from mosaic_fl.config import Config, DistillConfig
from mosaic_fl.config.model_names import estimator_numbers
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.boosted import load, state_of
from mosaic_fl.models.inference import accuracy
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State
from mosaic_fl.server.student import Lesson
from mosaic_fl.training.monitor import Monitor, Recorder

NAME = "xgboost"
RATE = 0.1
DEPTH = 6
PATIENCE = 20  # trees without a gain on the hold-out
LIGHTEST = 0.001  # share of all synthetic rows that a leaf holds at least, by second derivatives
Floats = npt.NDArray[np.float32]


def is_boosted(student: str) -> bool:
    """Whether the student of this name is gradient-boosted trees, and no network."""
    return student.split(":")[0] == NAME


def check_boosted(student: str, schema: Schema, config: DistillConfig) -> None:
    """Raise UsageError, before any work, where such a student cannot learn from samples like these."""
    estimator_numbers(student)
    extras.require(f"student {student}", NAME)
    if not schema.of_rows:
        raise UsageError(
            f"student {student} learns from rows, and not from {schema.summary}: name a network, as cnn:32"
        )
    if config.jsd or config.teacher_label or config.temperature != 1 or config.fresh:
        raise UsageError(
            f"student {student} learns from distill.kl and distill.label alone: leave distill.jsd, teacher_label, "
            "temperature and fresh as they are, or name a network"
        )


def boost(
    student: str,
    schema: Schema,
    lesson: Lesson,
    config: DistillConfig,
    stream: Stream,
    monitor: Monitor,
    lightest: float = LIGHTEST,
) -> tuple[State, dict[str, float]]:
    """The state of trees that minimise the cross-entropy with (1 − s)·teacher + s·label, and figures on the hold-out.

    s is each sample's share of the label. There are as many trees a class as the name says, or fewer where more of them
    no longer gain on the hold-out. More than a hundred learn what only generators do, and so do leaves of few rows: the
    second derivatives of a leaf sum to a share `lightest` of the rows at least (docs/notes/tables.md).
    """
    import xgboost

    rest, holdout = lesson.divided(config.holdout, stream.torch())
    trees = estimator_numbers(student)[0]
    binary = schema.num_classes == 2
    settings: dict[str, Any] = {
        "eta": RATE, "max_depth": DEPTH, "nthread": torch.get_num_threads(), "tree_method": "hist",
        "seed": stream.integer() % 2**31, "base_score": 0.5 if binary else 0.0, "disable_default_eval_metric": 1,
        "min_child_weight": max(1.0, lightest * len(rest.labels)),
    }  # fmt: skip
    settings |= {"objective": "binary:logistic"} if binary else {"num_class": schema.num_classes}
    goals = [targets(part, config).numpy() for part in (rest, holdout)]
    data = [_matrix(part, goal, binary=binary) for part, goal in zip((rest, holdout), goals, strict=True)]
    checked = len(holdout.labels) > 0

    def measure(answers: Floats, matrix: Any) -> tuple[str, float]:
        goal = goals[0] if matrix is data[0] else goals[1]
        logs = _logs_of_two(answers) if binary else _log_softmax(answers)
        return "loss", float(-(goal * logs).sum(1).mean())

    booster = xgboost.train(
        settings,
        data[0],
        trees,
        obj=None if binary else lambda margins, _: _gradients(margins, goals[0]),
        custom_metric=measure if checked else None,
        evals=[(data[1], "holdout")] if checked else [],
        early_stopping_rounds=PATIENCE if checked else None,
        verbose_eval=False,
    )
    if checked:
        booster = booster[: booster.best_iteration + 1]
    monitor.progress(trees, trees)
    state = state_of(bytes(booster.save_raw("json")))
    return state, _figures(load(NAME, schema, state, "student").log_probabilities(holdout.samples), holdout, config)


def boost_pooled(student: str, data: Dataset, config: Config) -> State:
    """The state of such trees on real samples and their labels alone, as the reference on pooled data."""
    nobody = torch.zeros(len(data), data.schema.num_classes)
    lesson = Lesson(data.samples, data.labels, nobody, torch.ones(len(data)))
    stream = Stream(config.run.seed, "centralised")
    return boost(student, data.schema, lesson, config.distill, stream, Recorder("centralised"), lightest=0.0)[0]


def targets(lesson: Lesson, config: DistillConfig) -> Tensor:
    """What the student should say, float32 (n, C): between the teacher's probabilities and the label, by its share."""
    share = torch.full((len(lesson.labels),), config.label_share) if lesson.shares is None else lesson.shares
    share = torch.where(lesson.labels >= 0, share, 0.0)[:, None]
    teacher = lesson.teacher.softmax(1)
    label = torch.nn.functional.one_hot(lesson.labels.clamp(min=0), teacher.shape[1])
    return (1 - share) * teacher + share * label


def _matrix(lesson: Lesson, goal: Floats, *, binary: bool) -> Any:
    import xgboost

    inputs = lesson.samples.inputs()
    parts = [inputs] if isinstance(inputs, Tensor) else list(inputs.values())
    rows = torch.cat(parts, 1).numpy()
    return xgboost.DMatrix(rows, label=goal[:, 1] if binary else goal.argmax(1))


def _gradients(margins: Floats, goal: Floats) -> tuple[Floats, Floats]:
    """Gradient and a bound on the second derivative of the cross-entropy, each (n, C), as in XGBoost's softmax."""
    chances = np.exp(_log_softmax(margins))
    return chances - goal, np.maximum(2 * chances * (1 - chances), 1e-6)


def _logs_of_two(chances: Floats) -> Floats:
    """log(1 − p) and log p (n, 2) from p (n,), on which XGBoost measures its own objectives; ours on margins."""
    least = np.finfo(np.float32).eps
    second = np.clip(chances, least, 1 - least)
    return np.stack([np.log1p(-second), np.log(second)], 1)


def _log_softmax(logits: Floats) -> Floats:
    shifted = logits - logits.max(1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result


def _figures(outputs: Tensor, holdout: Lesson, config: DistillConfig) -> dict[str, float]:
    """As of a network: loss, and agreement with both labels on the hold-out; nothing where there is none."""
    if not len(holdout.labels):
        return {}
    labelled = holdout.labels >= 0
    return {
        "holdout_loss": float(-(targets(holdout, config) * outputs.log_softmax(1)).sum(1).mean()),
        "holdout_accuracy": accuracy(outputs[labelled], holdout.labels[labelled]),
        "holdout_agreement": accuracy(outputs, holdout.teacher.argmax(1)),
    }
