"""DENSE: data-free one-shot federated learning (Zhang et al. 2022, NeurIPS, arXiv 2112.12371), algorithm 1.

Each client trains its model and sends it, once. In every epoch the server

1. draws a batch of latents z and labels y, and trains a generator G(z) on it against the clients' models and the
   student (data generation, eq. 2–6);
2. puts the images that it then makes of (z, y) into a pool, and distils the clients' mean logits into the student on
   the pool's images of all epochs (model distillation, eq. 7).

The generator begins anew in every epoch, and does not see the label but has to find an image of it for each z: one that
goes on makes much the same images of any z.

Rates, weights, temperatures, batches and steps are those of the authors' published command. Where this differs from
their code: images are not cropped or mirrored at random, neither before G's loss nor for the student; z is not trained
along with G, and the last step's images enter the pool, not the best; labels are only of classes that some client
holds; G has a base width of 32, where theirs has 64. What the first two of these would change on digits is in
docs/notes/baselines.md. Where code and paper differ, the code is followed: L_BN is a sum over the clients, not a mean.
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
    before: Stage,
    monitor: Monitor,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """`epochs` of algorithm 1; after the last one the student's weights, and the pool's size and recall by class.

    Labels are drawn evenly from the classes that some client holds.
    """
    settings = config.synthesis
    seed = config.run.seed
    schema = contributions[0].schema
    held_classes = torch.stack([c.class_counts for c in contributions]).sum(0) > 0
    pupil = Pupil(config, schema, device, before.tensors, answers=torch.empty(0, schema.num_classes))
    student = pupil.student
    pool = pupil.pool
    f = FrozenExperts([c.build_network() for c in contributions], device)
    loss = partial(generator_loss, experts=f, student=student, settings=settings)
    for epoch in epochs:
        rng = Stream(seed, "dense", round=epoch).torch()
        z, labels = draw(settings, held_classes, rng, device)
        begin = Stream(seed, "dense-generator", round=epoch)
        with frozen(student), f:
            made, fitted = fit_batch(schema, settings, begin, (z, labels), loss)
        pupil.show(made, labels, lambda images: mean_logits(f(images)))
        with Stream(seed, "dense-dropout", round=epoch).ambient():
            for batch in pool.batches(settings.pool_batch, settings.student_steps, rng):
                teacher = pupil.answers[batch].to(device)
                gap = learn(student, pupil.optimiser, pool.at(batch, device), teacher, settings.temperature)
        monitor.progress(epoch + 1, settings.epochs)
        monitor.log(epoch, generator_loss=fitted, student_loss=gap, recognised=accuracy(pupil.answers, pool.labels))
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

    L_CE, the cross-entropy of the mean-logit teacher with the labels asked for (eq. 3); L_BN, the distance from
    the clients' batch-norm statistics (eq. 4); L_div = −ω·KL(teacher ‖ student), ω = 1 where they disagree (eq.
    5), which draws images to where the student is wrong. `z` has no part in it.
    """
    teacher = mean_logits(experts(images))
    says = student(images)
    found = F.cross_entropy(teacher, labels)
    apart = masked_divergence(teacher, says, disagree(teacher, says)).mean()
    return settings.label * found + settings.statistics * experts.statistics_loss() - settings.adversarial * apart
