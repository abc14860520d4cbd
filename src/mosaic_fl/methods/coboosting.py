"""Co-Boosting: data and ensemble improve each other (Dai et al. 2024, ICLR, arXiv 2402.15070), algorithm 1.

As DENSE (see there), but in every epoch

1. the generator looks for images that are hard for the ensemble;
2. a pass over the pool's older images moves the weights of the clients in the ensemble, one signed gradient step a
   batch;
3. the student learns from the ensemble with its new weights. Each time that it sees an image, a small step in a new
   random direction of the ensemble's outputs makes the image harder.

The settings are those of the authors' published command: no batch-norm statistics (`synthesis.statistics` is 0); the KL
at T = 3 of all images, not only where ensemble and student disagree; for the student weight decay, a cosine rate over
epochs and clipped gradients. Where code and paper differ, we follow the code: it divides the ensemble's logits by
Σ_k w_k, and steps the weights on the images themselves, not on perturbed ones.

Differences from the code:

- The code adds ε = 8/255 to images in −1..1, which is half of our ε in 0..1, and does not clip the sum to the range.
- Labels are only of classes that some client has.
- The generator's gradients are not clipped at 10.
- G's width, z without training, the last images and no crops are as in DENSE.
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
from mosaic_fl.server.divergences import kl_divergence
from mosaic_fl.server.experts import TINY
from mosaic_fl.server.synthesis.ensemble import FrozenExperts, frozen
from mosaic_fl.server.synthesis.generator import draw, fit_batch
from mosaic_fl.server.synthesis.pupil import Pupil
from mosaic_fl.server.synthesis.student import learn
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.training.monitor import Monitor

PIXEL = 2.0  # factor from a perturbation in 0..1 to pixels in −1..1
# Of the authors' code:
ADVERSARIAL_TEMPERATURE = 3.0  # of the KL between ensemble and student
DIRECTION_TEMPERATURE = 4.0  # of the outputs along which images are perturbed
STUDENT_DECAY = 1e-4  # weight decay of the student's SGD
STUDENT_CLIP = 10.0  # longest gradient of the student

WEIGHTS = "weights"  # name of the ensemble's weights in a part's stage


def coboosting(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One model from each client, of any architectures; one global model back."""
    return one_shot("coboosting", distil, federation, config, device, journal)


def distil(
    contributions: Sequence[Contribution],
    config: Config,
    device: torch.device,
    epochs: range,
    previous: Stage,
    monitor: Monitor,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """These `epochs` of algorithm 1. After the last, returns the student, the pool's size and the ensemble's weights.

    Labels are drawn evenly from the classes that some client has.
    """
    settings = config.synthesis
    seed = config.run.seed
    schema = contributions[0].schema
    class_mask = torch.stack([c.class_counts for c in contributions]).sum(0) > 0
    empty = torch.empty(0, len(contributions), schema.num_classes)
    pupil = Pupil(config, schema, device, previous.tensors, answers=empty, weight_decay=STUDENT_DECAY)
    student = pupil.student
    pool = pupil.pool
    weights = previous.tensors.get(WEIGHTS, torch.full((len(contributions),), 1 / len(contributions))).to(device)
    experts = FrozenExperts([c.build_network() for c in contributions], device)
    for epoch in epochs:
        rng = Stream(seed, "coboosting", round=epoch).torch()
        z, labels = draw(settings, class_mask, rng, device)
        generator_stream = Stream(seed, "coboosting-generator", round=epoch)
        loss = partial(generator_loss, experts=experts, weights=weights, student=student, settings=settings)
        with frozen(student), experts if settings.statistics else nullcontext():
            new_images, fit_loss = fit_batch(schema, settings, generator_stream, (z, labels), loss)
        step = settings.weight_step * settings.weight_decay**epoch
        for batch in pool.batches(settings.pool_batch, 0, rng):
            weights = reweigh(weights, pupil.answers[batch].to(device), pool.labels[batch].to(device), step)
        pupil.show(new_images, labels, experts)
        for group in pupil.optimiser.param_groups:
            group["lr"] = settings.student_lr * (1 + math.cos(math.pi * epoch / settings.epochs)) / 2
        with Stream(seed, "coboosting-dropout", round=epoch).ambient():
            for batch in pool.batches(settings.pool_batch, settings.student_steps, rng):
                images = harden(pool.at(batch, device), experts, weights, settings.perturbation, rng)
                with torch.no_grad():
                    teacher = weighted_logits(experts(images), weights)
                student_loss = learn(student, pupil.optimiser, images, teacher, settings.temperature, STUDENT_CLIP)
        monitor.progress(epoch + 1, settings.epochs)
        figures = {f"weight_{c.client}": float(w) for c, w in zip(contributions, weights, strict=True)}
        monitor.log(epoch, generator_loss=fit_loss, student_loss=student_loss, **figures)
    if epochs.stop < settings.epochs:
        return {**pupil.memory(), WEIGHTS: weights.cpu()}, {}
    student.cpu().eval()
    clients = [c.client for c in contributions]  # in the order of the weights
    info = {"architecture": pupil.architecture, "pool": len(pool), "clients": clients, "weights": weights.tolist()}
    return copy_state(student), info


def weighted_logits(outputs: Tensor, weights: Tensor) -> Tensor:
    """Σ_k w_k·f_k(x) / Σ_k w_k, the ensemble's logits (n, C), from expert logits (n, K, C) and `weights` (K,) in 0..1.

    Without the division all weights would grow together, because larger logits alone lower a cross-entropy.
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

    It is DENSE's loss of the weighted ensemble, but with the hard-sample loss L_H instead of the cross-entropy, and
    with the divergence of all images. `z` has no part in it.
    """
    teacher = weighted_logits(experts(images), weights)
    student_logits = student(images)
    divergence = kl_divergence(teacher, student_logits, ADVERSARIAL_TEMPERATURE).mean()
    terms = settings.label * hard_loss(teacher, labels) + settings.statistics * experts.statistics_loss()
    return terms - settings.adversarial * divergence


def hard_loss(teacher: Tensor, labels: Tensor) -> Tensor:
    """L_H: the mean of (1 − p_y)·CE over logits (n, C) and labels (n,), in nats; p_y is the probability of the label.

    The weight 1 − p_y has no gradient. It is small for images that are easy for the ensemble.
    """
    losses = F.cross_entropy(teacher, labels, reduction="none")
    return ((1 - (-losses.detach()).exp()) * losses).mean()


def harden(
    images: Tensor, experts: Callable[[Tensor], Tensor], weights: Tensor, length: float, rng: torch.Generator
) -> Tensor:
    """`images` in −1..1 after output diversified sampling (Tashiro, Song & Ermon 2020, NeurIPS): x + ε·sign ∇_x uᵀp(x).

    u ~ U(−1, 1)^C, new for each image; p (n, C) is the softmax of the weighted logits at T = 4. Every pixel with a
    gradient moves by `length`, in units of 0..1 as usual for adversarial examples, and stays within −1..1.
    """
    with torch.enable_grad():
        start = images.detach().requires_grad_()
        outputs = (weighted_logits(experts(start), weights) / DIRECTION_TEMPERATURE).softmax(1)
        direction = torch.rand(outputs.shape, generator=rng).mul_(2).sub_(1).to(outputs.device)
        (slope,) = torch.autograd.grad((direction * outputs).sum(), start)
    return (images + PIXEL * length * slope.sign()).clamp(-1, 1)


def reweigh(weights: Tensor, outputs: Tensor, labels: Tensor, step: float) -> Tensor:
    """w ← clip(w − μ·sign ∇_w CE(weighted logits, y), 0, 1) from expert logits (n, K, C); μ = `step`.

    A client's weight rises where its logits are better than the ensemble's. Epoch e has e steps of 0.01·0.99^e, one for
    each batch of the generator. So a weight can cross the whole interval within the first 16 epochs. Smaller batches of
    the pool make more steps.
    """
    with torch.enable_grad():
        start = weights.detach().requires_grad_()
        loss = F.cross_entropy(weighted_logits(outputs.detach(), start), labels)
        (slope,) = torch.autograd.grad(loss, start)
    return (weights - step * slope.sign()).clamp(0, 1)
