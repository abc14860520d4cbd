"""The server's whole work: contributions in, one global model out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.config import Config
from mosaic_fl.contribution import Contribution
from mosaic_fl.errors import UsageError
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal
from mosaic_fl.models import build, default_student
from mosaic_fl.monitor import Monitor
from mosaic_fl.optimisation import copy_state
from mosaic_fl.randomness import Stream
from mosaic_fl.server.experts import MixtureOfExperts, class_weighted
from mosaic_fl.server.meta import build_meta
from mosaic_fl.server.meta_training import meta_log_probabilities, train_meta
from mosaic_fl.server.pool import Pool, sample_pool
from mosaic_fl.server.student import lesson_of, train_student

Product = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class Distilled:
    """The global model, the mixture and the meta model (None where the configuration has none) that taught it.

    `holdout` holds the student's figures on synthetic samples it did not learn from.
    """

    model: GlobalModel
    mixture: MixtureOfExperts
    meta: nn.Module | None
    holdout: dict[str, float]

    def teach(self, outputs: Tensor) -> Tensor:
        """The teacher's log-probabilities (n, C) for expert logits (n, K, C)."""
        return teacher_of(self.mixture, self.meta, outputs)


def distill(
    contributions: Sequence[Contribution],
    config: Config,
    device: torch.device,
    journal: Journal,
    start: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> Distilled:
    """Mixture of experts -> meta model -> synthetic pool -> student; each a stage of `journal`.

    The student begins with the weights that `start` has for its architecture, if any (the paper's pre-federated model).

    The order of the contributions does not matter. Raises UsageError where they are none, do not share one schema, two
    come from one client, or no one has a generator.
    """
    contributions = compatible(contributions)
    schema, seed = contributions[0].schema, config.run.seed
    mixture = MixtureOfExperts.of(contributions)

    def learn_to_fuse(monitor: Monitor) -> Product:
        samples = sample_pool(contributions, config.meta.samples, Stream(seed, "meta-samples"), device)
        outputs = mixture.outputs(samples.images, device)
        model = train_meta(outputs, samples.labels, mixture.weights, config.meta, seed, device, monitor)
        return copy_state(model), {}

    def ask_the_teacher(monitor: Monitor) -> Product:
        pool = sample_pool(contributions, config.distill.pool, Stream(seed, "pool"), device)
        taught = teacher_of(mixture, meta, mixture.outputs(pool.images, device))
        tensors = {"images": pool.images, "labels": pool.labels, "sources": pool.sources, "teacher": taught}
        agreement = float((taught.argmax(1) == pool.labels).float().mean())
        return tensors, {"teacher_agrees_with_label": agreement}

    def teach_the_student(monitor: Monitor) -> Product:
        with Stream(seed, "student-init").ambient():
            student = build(architecture, schema)
        if start and architecture in start:
            student.load_state_dict(dict(start[architecture]))
        stream = Stream(seed, "student")
        holdout = train_student(student, lesson_of(pool, teacher), config.distill, stream, device, monitor)
        return copy_state(student), {"holdout": holdout}

    architecture = config.models.student or default_student(schema)
    meta = None
    if config.meta.kind != "none":
        with torch.random.fork_rng():
            meta = build_meta(mixture.weights, config.meta)
        meta.load_state_dict(journal.stage("meta", learn_to_fuse).tensors)
        meta.eval()
    kept = journal.stage("pool", ask_the_teacher).tensors
    pool, teacher = Pool(kept["images"], kept["labels"], kept["sources"]), kept["teacher"]
    taught = journal.stage("student", teach_the_student)
    return Distilled(GlobalModel(architecture, schema, taught.tensors), mixture, meta, taught.info["holdout"])


def teacher_of(mixture: MixtureOfExperts, meta: nn.Module | None, outputs: Tensor) -> Tensor:
    """Log-probabilities (n, C) of the meta model, or where there is none of the class-weighted ensemble."""
    if meta is None:
        return class_weighted(outputs, mixture.weights)
    return meta_log_probabilities(meta, outputs)


def compatible(contributions: Sequence[Contribution]) -> list[Contribution]:
    """The contributions in the order of their clients; raises UsageError unless they can be fused."""
    if not contributions:
        raise UsageError("there is no contribution to distil")
    ordered = sorted(contributions, key=lambda c: c.client)
    for before, after in pairwise(ordered):
        if before.client == after.client:
            raise UsageError(f"two contributions come from client {after.client}: give every client its own --client")
        if before.schema != after.schema:
            raise UsageError(
                f"client {after.client} has images {after.schema.shape} of {after.schema.num_classes} classes, client "
                f"{before.client} {before.schema.shape} of {before.schema.num_classes}: all must share one schema"
            )
    return ordered
