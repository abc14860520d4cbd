"""Co-Boosting: data and ensemble improve each other (Dai et al. 2024, ICLR, arXiv 2402.15070), algorithm 1.

As DENSE (which see), but in every epoch

1. the generator looks for images that are hard for the ensemble;
2. a pass over the pool's older images moves the weights of the clients in the ensemble, a signed gradient step a batch;
3. the student learns from the ensemble with its new weights, and whenever it sees an image, a small step in a random
   direction of the ensemble's outputs makes that harder, and another one each time.

This is the authors' published command: no batch-norm statistics (`synthesis.statistics` is 0), the KL at T = 3 of all
images, not of those where ensemble and student disagree, and the student's weight decay, cosine over epochs and clipped
gradients. Where their code and the paper's equations differ, the code is followed: it divides the ensemble's logits by
Σ_k w_k, and takes the weights' steps on images as they are, not on perturbed ones.

Where this differs from the code: it adds ε = 8/255 to images in −1..1, half of ours, which is measured in 0..1, and
does not clip the sum to the range; labels are only of classes that some client holds; the generator's gradients are not
clipped at 10; G, z that is not trained, the last images and no crops as in DENSE.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
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
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.experts import TINY
from mosaic_fl.server.losses import kl_divergence
from mosaic_fl.server.synthesis.ensemble import FrozenExperts, frozen
from mosaic_fl.server.synthesis.generator import draw, fit_batch
from mosaic_fl.server.synthesis.pupil import Pupil
from mosaic_fl.server.synthesis.student import learn
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor

PIXEL = 2.0  # from pixels in 0..1, in which perturbations are measured, to pixels in −1..1
# Of the authors' code:
ADVERSARIAL_TEMPERATURE = 3.0  # of the KL between ensemble and student
DIRECTION_TEMPERATURE = 4.0  # of the outputs along which images are perturbed
WEIGHTS = "weights"  # their name in what a part leaves
# weight decay of the student's SGD, longest gradient
STUDENT_DECAY = 1e-4
STUDENT_CLIP = 10.0


def coboosting(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One model from each client, of any architectures; one global model back."""
    return one_shot("coboosting", distil, federation, config, device, journal)


def distil(
    contributions: Sequence[Contribution],
    config: Config,
    device: torch.device,
    epochs: range,
    before: Stage,
    monitor: Monitor,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """`epochs` of algorithm 1; after the last one the student's weights, and the pool's size and the clients' weights.

    Labels are drawn evenly from the classes that some client holds.
    """
    settings = config.synthesis
    seed = config.run.seed
    schema = contributions[0].schema
    held_classes = torch.stack([c.class_counts for c in contributions]).sum(0) > 0
    nothing = torch.empty(0, len(contributions), schema.num_classes)
    pupil = Pupil(config, schema, device, before.tensors, answers=nothing, weight_decay=STUDENT_DECAY)
    student = pupil.student
    pool = pupil.pool
    weights = before.tensors.get(WEIGHTS, torch.full((len(contributions),), 1 / len(contributions))).to(device)
    experts = FrozenExperts([c.build_network() for c in contributions], device)
    for epoch in epochs:
        rng = Stream(seed, "coboosting", round=epoch).torch()
        z, labels = draw(settings, held_classes, rng, device)
        begin = Stream(seed, "coboosting-generator", round=epoch)
        loss = partial(generator_loss, experts=experts, weights=weights, student=student, settings=settings)
        with frozen(student), experts if settings.statistics else nullcontext():
            made, fitted = fit_batch(schema, settings, begin, (z, labels), loss)
        step = settings.weight_step * settings.weight_decay**epoch
        for batch in pool.batches(settings.pool_batch, 0, rng):
            weights = reweigh(weights, pupil.answers[batch].to(device), pool.labels[batch].to(device), step)
        pupil.show(made, labels, experts)
        for group in pupil.optimiser.param_groups:
            group["lr"] = settings.student_lr * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
        with Stream(seed, "coboosting-dropout", round=epoch).ambient():
            for batch in pool.batches(settings.pool_batch, settings.student_steps, rng):
                images = harden(pool.at(batch, device), experts, weights, settings.perturbation, rng)
                with torch.no_grad():
                    teacher = weighted_logits(experts(images), weights)
                gap = learn(student, pupil.optimiser, images, teacher, settings.temperature, STUDENT_CLIP)
        monitor.progress(epoch + 1, settings.epochs)
        shown = {f"weight_{c.client}": float(w) for c, w in zip(contributions, weights, strict=True)}
        monitor.log(epoch, generator_loss=fitted, student_loss=gap, **shown)
    if epochs.stop < settings.epochs:
        return {**pupil.memory(), WEIGHTS: weights.cpu()}, {}
    student.cpu().eval()
    clients = [c.client for c in contributions]  # whose the weights are
    info = {"architecture": pupil.architecture, "pool": len(pool), "clients": clients, "weights": weights.tolist()}
    return copy_state(student), info


def weighted_logits(outputs: Tensor, weights: Tensor) -> Tensor:
    """Σ_k w_k·f_k(x) / Σ_k w_k, the ensemble's logits (n, C), from expert logits (n, K, C) and `weights` (K,) in 0..1.

    Without the division all weights would grow together: larger logits alone lower a cross-entropy.
    """
    return torch.einsum("nkc,k->nc", outputs, weights) / weights.sum().clamp(min=TINY)


def generator_loss(
    images: Tensor,
    z: Tensor,
    labels: Tensor,
    *,
    experts: FrozenExperts,
    weights: Tensor,
    student: Classifier,
    settings: SynthesisConfig,
) -> Tensor:
    """label·L_H + statistics·L_BN − adversarial·T²·KL(ensemble ‖ student), T = 3, of images (n, channels, h, w).

    DENSE's loss of the weighted ensemble, with the hard-sample loss L_H for the cross-entropy, and the divergence of
    all images. `z` has no part in it.
    """
    teacher = weighted_logits(experts(images), weights)
    says = student(images)
    apart = kl_divergence(teacher, says, ADVERSARIAL_TEMPERATURE).mean()
    terms = settings.label * hard_loss(teacher, labels) + settings.statistics * experts.statistics_loss()
    return terms - settings.adversarial * apart


def hard_loss(teacher: Tensor, labels: Tensor) -> Tensor:
    """L_H: the mean of (1 − p_y)·CE over logits (n, C) and labels (n,), in nats; p_y is the probability of the label.

    The weight, a constant to the gradient, leaves alone what the ensemble finds easy.
    """
    each = F.cross_entropy(teacher, labels, reduction="none")
    return ((1 - (-each.detach()).exp()) * each).mean()


def harden(
    images: Tensor, experts: Callable[[Tensor], Tensor], weights: Tensor, length: float, rng: torch.Generator
) -> Tensor:
    """`images` in −1..1 after output diversified sampling (Tashiro, Song & Ermon 2020, NeurIPS): x + ε·sign ∇_x uᵀp(x).

    u ~ U(−1, 1)^C, new for each image; p (n, C) is the softmax of the weighted logits at T = 4. Every pixel with a
    slope moves by `length`, measured in 0..1 as adversarial examples are, and stays within the image's range.
    """
    with torch.enable_grad():
        start = images.detach().requires_grad_()
        outputs = (weighted_logits(experts(start), weights) / DIRECTION_TEMPERATURE).softmax(1)
        direction = torch.rand(outputs.shape, generator=rng).mul_(2).sub_(1).to(outputs.device)
        (slope,) = torch.autograd.grad((direction * outputs).sum(), start)
    return (images + PIXEL * length * slope.sign()).clamp(-1, 1)


def reweigh(weights: Tensor, outputs: Tensor, labels: Tensor, step: float) -> Tensor:
    """w ← clip(w − μ·sign ∇_w CE(weighted logits, y), 0, 1) from expert logits (n, K, C); μ = `step`.

    A client's weight rises where its logits are better than the ensemble's. With e steps of 0.01·0.99^e in epoch e, one
    for each batch of the generator's, a weight can cross the whole interval within the first 16 epochs; smaller batches
    of the pool make more steps.
    """
    with torch.enable_grad():
        start = weights.detach().requires_grad_()
        loss = F.cross_entropy(weighted_logits(outputs.detach(), start), labels)
        (slope,) = torch.autograd.grad(loss, start)
    return (weights - step * slope.sign()).clamp(0, 1)
