"""Co-Boosting: data and ensemble improve each other (Dai et al. 2024, ICLR, arXiv 2402.15070), algorithm 1.

As DENSE (which see), but in every epoch

1. the generator looks for images that are hard for the ensemble, and whenever an image is used, a small step in a
   random direction of the ensemble's outputs makes it harder, and another one each time;
2. a signed gradient step on such images moves the weights of the clients in the ensemble;
3. the student learns from the ensemble with its present weights.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.contribution import Contribution
from mosaic_fl.federation import Federation
from mosaic_fl.journal import Journal
from mosaic_fl.methods.one_shot import one_shot
from mosaic_fl.methods.outcome import Card, Outcome
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.monitor import Monitor
from mosaic_fl.optimisation import copy_state
from mosaic_fl.randomness import Stream
from mosaic_fl.server.synthesis.ensemble import FrozenExperts, held
from mosaic_fl.server.synthesis.generator import draw, fit_batch
from mosaic_fl.server.synthesis.image_pool import ImagePool
from mosaic_fl.server.synthesis.losses import disagree, masked_divergence
from mosaic_fl.server.synthesis.student import learn, new_student, sgd

PIXEL = 2.0  # from pixels in 0..1, in which perturbations are measured, to pixels in −1..1


def coboosting(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One model from each client, of any architectures; one global model back."""
    return one_shot("coboosting", distil, federation, config, device, journal)


def distil(
    contributions: Sequence[Contribution], config: Config, device: torch.device, monitor: Monitor
) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
    """Algorithm 1 at the server: the student's architecture and weights, and the pool's size and the clients' weights.

    Labels are drawn evenly from the classes that some client holds.
    """
    settings, seed, schema = config.synthesis, config.run.seed, contributions[0].schema
    held_classes = torch.stack([c.class_counts for c in contributions]).sum(0) > 0
    architecture, student = new_student(config, schema)
    optimiser = sgd(student.to(device), settings)
    pool, weights = ImagePool(), torch.full((len(contributions),), 1 / len(contributions), device=device)
    with Stream(seed, "coboosting-dropout").ambient():
        experts = FrozenExperts([c.build_expert() for c in contributions], device)
        for epoch in range(settings.epochs):
            rng = Stream(seed, "coboosting", round=epoch).torch()
            z, labels = draw(settings.batch_size, settings.latent, held_classes, rng)
            begin = Stream(seed, "coboosting-generator", round=epoch)
            loss = partial(generator_loss, experts=experts, weights=weights, student=student, settings=settings)
            with held(student), experts:
                made, fitted = fit_batch(schema, settings, begin, (z.to(device), labels.to(device)), loss)
            pool.add(made, labels)
            [batch] = pool.batches(settings.batch_size, 1, rng)
            images = harden(pool.at(batch, device), experts, weights, settings.perturbation, rng)
            step = settings.weight_step * settings.weight_decay**epoch
            weights = reweigh(weights, experts(images), pool.labels[batch].to(device), step)
            for batch in pool.batches(settings.batch_size, settings.student_steps, rng):
                images = harden(pool.at(batch, device), experts, weights, settings.perturbation, rng)
                with torch.no_grad():
                    teacher = weighted_logits(experts(images), weights)
                gap = learn(student, optimiser, images, teacher, settings.temperature)
            monitor.progress(epoch + 1, settings.epochs)
            shown = {f"weight_{c.client}": float(w) for c, w in zip(contributions, weights, strict=True)}
            monitor.log(epoch, generator_loss=fitted, student_loss=gap, **shown)
    student.cpu().eval()
    clients = [c.client for c in contributions]  # whose the weights are
    return architecture, copy_state(student), {"pool": len(pool), "clients": clients, "weights": weights.tolist()}


def weighted_logits(outputs: Tensor, weights: Tensor) -> Tensor:
    """Σ_k w_k·f_k(x), logits (n, C) of the ensemble, from expert logits (n, K, C) and `weights` (K,) in 0..1."""
    return torch.einsum("nkc,k->nc", outputs, weights)


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
    """label·L_H + statistics·L_BN − adversarial·ω·KL(ensemble ‖ student) of images (n, channels, height, width).

    DENSE's loss of the weighted ensemble, with the hard-sample loss L_H for the cross-entropy. `z` has no part in it.
    """
    teacher, says = weighted_logits(experts(images), weights), student(images)
    apart = masked_divergence(teacher, says, disagree(teacher, says)).mean()
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
    """`images` in −1..1 after output diversified sampling (Tashiro, Song & Ermon 2020, NeurIPS): x + ε·sign ∇_x uᵀD(x).

    u ~ U(−1, 1)^C, new for each image; D are the weighted logits (n, C). Every pixel moves by `length`, measured in
    0..1 as adversarial examples are, and stays within the image's range.
    """
    with torch.enable_grad():
        start = images.detach().requires_grad_()
        outputs = weighted_logits(experts(start), weights)
        direction = torch.rand(outputs.shape, generator=rng).mul_(2).sub_(1).to(outputs.device)
        (slope,) = torch.autograd.grad((direction * outputs).sum(), start)
    return (images + PIXEL * length * slope.sign()).clamp(-1, 1)


def reweigh(weights: Tensor, outputs: Tensor, labels: Tensor, step: float) -> Tensor:
    """w ← clip(w − μ·sign ∇_w CE(Σ_k w_k·f_k(x), y), 0, 1) from expert logits (n, K, C); μ = `step`.

    With one step an epoch, 0.01·0.99^epoch, a weight can travel 0.87 in 200 epochs: nearly the whole interval.
    """
    with torch.enable_grad():
        start = weights.detach().requires_grad_()
        loss = F.cross_entropy(weighted_logits(outputs.detach(), start), labels)
        (slope,) = torch.autograd.grad(loss, start)
    return (weights - step * slope.sign()).clamp(0, 1)


CARD = Card(
    run=coboosting,
    title="Co-Boosting",
    paper="Dai et al. 2024, arXiv 2402.15070",
    summary="DENSE with harder images, and an ensemble whose weights are learnt on them",
    # The published command: 200 epochs of 30 steps and a pass over the pool.
    defaults={"generator.family": "none", "prototypes.per_class": 0, "synthesis.student_steps": 0},
)
