"""DENSE: data-free one-shot federated learning (Zhang et al. 2022, NeurIPS, arXiv 2112.12371), algorithm 1.

Each client trains its model and sends it, once. In every epoch the server

1. draws a batch of latents z and labels y, and trains a generator G(z) on it against the clients' models and the
   student (data generation, eq. 2–6);
2. adds the images of G(z) with their labels y to a pool, and distils the clients' mean logits into the student on the
   pool's images of all epochs (model distillation, eq. 7).

The generator starts anew in every epoch. It does not see the label: it has to learn an image of class y for each z. A
generator that goes on from epoch to epoch makes nearly the same images for any z.

Rates, weights, temperatures, batches and steps are those of the authors' published command. Differences from their
code:

- Images are not cropped or mirrored at random, neither before G's loss nor for the student.
- z is not trained with G, and the last step's images enter the pool, not the best.
- Labels are only of classes that some client has.
- G has a base width of 32, not 64.

What the first two would change on digits is in docs/notes/baselines.md. Where code and paper differ, we follow the
code: L_BN is a sum over the clients, not a mean.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.methods.one_shot import one_shot
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import accuracy
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.experts import mean_logits
from mosaic_fl.server.synthesis.ensemble import FrozenExperts, frozen
from mosaic_fl.server.synthesis.generator import draw, fit_batch
from mosaic_fl.server.synthesis.losses import disagree, masked_divergence
from mosaic_fl.server.synthesis.pool import recall
from mosaic_fl.server.synthesis.pupil import Pupil
from mosaic_fl.server.synthesis.student import learn
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor


def dense(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One model from each client, of any architectures; one global model back."""
    return one_shot("dense", distil, federation, config, device, journal)


def distil(
    contributions: Sequence[Contribution],
    config: Config,
    device: torch.device,
    epochs: range,
    previous: Stage,
    monitor: Monitor,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """These `epochs` of algorithm 1. After the last, returns the student's weights, the pool's size and its recall.

    Labels are drawn evenly from the classes that some client has.
    """
    settings = config.synthesis
    seed = config.run.seed
    schema = contributions[0].schema
    class_mask = torch.stack([c.class_counts for c in contributions]).sum(0) > 0
    pupil = Pupil(config, schema, device, previous.tensors, answers=torch.empty(0, schema.num_classes))
    student = pupil.student
    pool = pupil.pool
    experts = FrozenExperts([c.build_network() for c in contributions], device)
    loss = partial(generator_loss, experts=experts, student=student, settings=settings)
    for epoch in epochs:
        rng = Stream(seed, "dense", round=epoch).torch()
        z, labels = draw(settings, class_mask, rng, device)
        generator_stream = Stream(seed, "dense-generator", round=epoch)
        with frozen(student), experts:
            images, fit_loss = fit_batch(schema, settings, generator_stream, (z, labels), loss)
        pupil.show(images, labels, lambda images: mean_logits(experts(images)))
        with Stream(seed, "dense-dropout", round=epoch).ambient():
            for batch in pool.batches(settings.pool_batch, settings.student_steps, rng):
                teacher = pupil.answers[batch].to(device)
                student_loss = learn(student, pupil.optimiser, pool.at(batch, device), teacher, settings.temperature)
        monitor.progress(epoch + 1, settings.epochs)
        recognised = accuracy(pupil.answers, pool.labels)
        monitor.log(epoch, generator_loss=fit_loss, student_loss=student_loss, recognised=recognised)
    if epochs.stop < settings.epochs:
        return pupil.memory(), {}
    student.cpu().eval()
    info = {"architecture": pupil.architecture, "pool": len(pool), "recall": recall(pupil.answers, pool.labels)}
    return copy_state(student), info


def generator_loss(
    images: Tensor,
    z: Tensor,
    labels: Tensor,
    *,
    experts: FrozenExperts,
    student: Classifier,
    settings: SynthesisConfig,
) -> Tensor:
    """L_gen = label·L_CE + statistics·L_BN + adversarial·L_div (eq. 6) of images (n, channels, height, width).

    L_CE is the cross-entropy of the mean-logit teacher with `labels` (eq. 3). L_BN is the distance from the clients'
    batch-norm statistics (eq. 4). L_div = −ω·KL(teacher ‖ student), with ω = 1 where they disagree (eq. 5), favours
    images on which the student is wrong. `z` has no part in it.
    """
    teacher = mean_logits(experts(images))
    student_logits = student(images)
    cross_entropy = F.cross_entropy(teacher, labels)
    divergence = masked_divergence(teacher, student_logits, disagree(teacher, student_logits)).mean()
    loss = settings.label * cross_entropy + settings.statistics * experts.statistics_loss()
    return loss - settings.adversarial * divergence
