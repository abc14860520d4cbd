"""DENSE: data-free one-shot federated learning (Zhang et al. 2022, NeurIPS, arXiv 2112.12371), algorithm 1.

Each client trains its model and sends it, once. In every epoch the server

1. draws a batch of latents z and labels y, and trains a generator on it against the clients' models and the student
   (data generation, eq. 2–6);
2. puts the images that it then makes of (z, y) into a pool, and distils the clients' mean logits into the student on
   the pool's images of all epochs (model distillation, eq. 7).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.contribution import Contribution
from mosaic_fl.data.dataset import to_float
from mosaic_fl.federation import Federation
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal
from mosaic_fl.methods.outcome import Card, Outcome
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.monitor import Monitor
from mosaic_fl.optimisation import copy_state
from mosaic_fl.randomness import Stream
from mosaic_fl.server.distill import compatible
from mosaic_fl.server.experts import mean_logits
from mosaic_fl.server.synthesis.ensemble import FrozenExperts, held
from mosaic_fl.server.synthesis.generator import adam, draw, improve, new_generator
from mosaic_fl.server.synthesis.image_pool import ImagePool
from mosaic_fl.server.synthesis.losses import disagree, masked_divergence
from mosaic_fl.server.synthesis.student import learn, new_student, sgd


def dense(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One model from each client, of any architectures; one global model back."""
    contributions = [c.without_generator() for c in compatible(federation.contribute())]
    learned = journal.stage("dense", lambda monitor: distil(contributions, config, device, monitor))
    model = GlobalModel(str(learned.info["architecture"]), federation.schema, learned.tensors)
    return Outcome(
        model=model,
        bytes_up=[len(c.to_bytes()) for c in contributions],
        bytes_down=[len(model.to_bytes())] * len(contributions),
    )


def distil(
    contributions: Sequence[Contribution], config: Config, device: torch.device, monitor: Monitor
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Algorithm 1 at the server: the student's weights, and its architecture and the pool's recall by class."""
    settings, seed, schema = config.synthesis, config.run.seed, contributions[0].schema
    classes_held = torch.stack([c.class_counts for c in contributions]).sum(0) > 0
    architecture, student = new_student(config, schema)
    student.to(device)
    generator = new_generator(schema, settings, Stream(seed, "dense-generator")).to(device)
    learns, synthesises = sgd(student, settings), adam(generator, settings)
    pool, taught = ImagePool(), torch.empty(0, schema.num_classes)
    with Stream(seed, "dense-dropout").ambient(), FrozenExperts([c.build_expert() for c in contributions], device) as f:
        loss = partial(generator_loss, experts=f, student=student, settings=settings)
        for epoch in range(settings.epochs):
            rng = Stream(seed, "dense", round=epoch).torch()
            drawn = draw(settings.batch_size, settings.latent, classes_held, rng)
            z, labels = (part.to(device) for part in drawn)
            with held(student):
                fitted = improve(generator, synthesises, lambda z=z, y=labels: (z, y), loss, settings.generator_steps)
            with torch.no_grad():
                pool.add(generator(z, labels), labels)
                fresh = to_float(pool.images[-len(labels) :])  # as they are at rest
                taught = torch.cat([taught, mean_logits(f(fresh.to(device))).cpu()])  # the teacher never changes
            for batch in pool.batches(settings.batch_size, settings.student_steps, rng):
                images, teacher = to_float(pool.images[batch]).to(device), taught[batch].to(device)
                gap = learn(student, learns, images, teacher, settings.temperature)
            monitor.progress(epoch + 1, settings.epochs)
            monitor.log(epoch, generator_loss=fitted, student_loss=gap, recognised=_recognised(taught, pool.labels))
    student.cpu().eval()
    by_class = [_recognised(taught[pool.labels == c], pool.labels[pool.labels == c]) for c in range(len(classes_held))]
    return copy_state(student), {"architecture": architecture, "pool": len(pool), "recall": by_class}


def generator_loss(
    images: Tensor, z: Tensor, labels: Tensor, *, experts: FrozenExperts, student: Classifier, settings: SynthesisConfig
) -> Tensor:
    """L_gen = label·L_CE + statistics·L_BN + adversarial·L_div (eq. 6) of images (n, channels, height, width).

    L_CE, the cross-entropy of the mean-logit teacher with the labels asked for (eq. 3); L_BN, the distance from the
    clients' batch-norm statistics (eq. 4); L_div = −ω·KL(teacher ‖ student), ω = 1 where they disagree (eq. 5), which
    draws images to where the student is wrong. `z` has no part in it.
    """
    teacher, says = mean_logits(experts(images)), student(images)
    found = F.cross_entropy(teacher, labels)
    apart = masked_divergence(teacher, says, disagree(teacher, says)).mean()
    return settings.label * found + settings.statistics * experts.statistics_loss() - settings.adversarial * apart


def _recognised(teacher: Tensor, labels: Tensor) -> float:
    """Share in 0..1 of the images whose label the teacher names; 0 of none."""
    return float((teacher.argmax(1) == labels).float().mean()) if len(labels) else 0.0


CARD = Card(
    run=dense,
    title="DENSE",
    paper="Zhang et al. 2022, arXiv 2112.12371",
    summary="a server generator against the clients' models; their mean logits distilled on all its images",
    # The published command: 200 epochs of 30 steps and a pass over the pool, all weights 1, T = 20.
    defaults={"generator.family": "none", "synthesis.student_steps": 0, "synthesis.temperature": 20.0},
)
