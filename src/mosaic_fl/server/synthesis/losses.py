"""Terms of the generators' losses, as functions of logits or log-probabilities (n, C); one value a sample (n,).

Where experts are weighted by class, `weights` (K, C) are `experts.class_weights`: α[k, y] = n_k[y] / Σ_j n_j[y].
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.server.divergences import kl_divergence


def disagree(teacher: Tensor, student: Tensor) -> Tensor:
    """Bool (n,): where teacher and student name different classes (DENSE's ω, eq. 5)."""
    return teacher.argmax(1) != student.argmax(1)


def fools(teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
    """Bool (n,): where the teacher names the label asked for and the student does not (DFRD's ε)."""
    return (teacher.argmax(1) == labels) & (student.argmax(1) != labels)


def masked_divergence(teacher: Tensor, student: Tensor, where: Tensor) -> Tensor:
    """KL(teacher ‖ student) in nats at the samples of `where` (n,), 0 at the others (DENSE's eq. 5 without its sign).

    A generator that is to find samples near the student's decision boundary goes *up* this.
    """
    return kl_divergence(teacher, student) * where


def expert_cross_entropy(outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Σ_k α[k, y]·CE(expert k, y) (n,), from expert logits (n, K, C): FedGen's and FedFTG's fidelity."""
    experts = outputs.shape[1]
    each = F.cross_entropy(outputs.flatten(0, 1), labels.repeat_interleave(experts), reduction="none")
    return (each.view(-1, experts) * weights.T[labels]).sum(1)


def expert_distance(outputs: Tensor, student: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Σ_k α[k, y]·mean_c |logit c of expert k − that of the student| (n,), from logits (n, K, C) and (n, C).

    How hard a sample is for the student (FedFTG, as in its authors' code).
    """
    return ((outputs - student[:, None]).abs().mean(2) * weights.T[labels]).sum(1)


def label_weighted(outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Σ_k α[k, y]·outputs of expert k (n, C), from (n, K, C): of logits DFRD's ensemble, of probabilities FedFTG's."""
    return torch.einsum("nkc,nk->nc", outputs, weights.T[labels])


def mode_seeking(z: Tensor, outputs: Tensor) -> Tensor:
    """exp(−mean_ij d(z_i, z_j)·d'(x_i, x_j)), a scalar in 0..1 that is small where other latents give other outputs.

    For z (n, ·) and outputs (n, ...) of one batch, after Mao et al. 2019 (arXiv 1903.05628). d is the mean squared
    and d' the mean absolute difference, as in the code of FedGen and FedFTG: with norms over all of an image, as FedFTG
    and DFRD write, the exponential is 0 and so is its gradient.
    """
    flat = outputs.flatten(1)
    near = torch.cdist(z, z).square() / z.shape[1]
    apart = torch.cdist(flat, flat, p=1) / flat.shape[1]
    return (-(near * apart).mean()).exp()
