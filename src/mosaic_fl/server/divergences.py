"""The terms of the distillation loss (docs/method.md, step 5), as functions of log-probabilities or logits (n, C)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def kl_divergence(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · KL(teacher ‖ student) in nats, one a sample (n,); both tempered by T (Hinton et al. 2015)."""
    p = (teacher / temperature).log_softmax(1)
    q = (student / temperature).log_softmax(1)
    return temperature**2 * F.kl_div(q, p, reduction="none", log_target=True).sum(1)


def jensen_shannon(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½(p + q), one a sample (n,): 0..ln 2 nats, symmetric (Lin 1991)."""
    p = (teacher / temperature).log_softmax(1)
    q = (student / temperature).log_softmax(1)
    mixture = torch.logaddexp(p, q) - math.log(2)
    return 0.5 * sum(
        (F.kl_div(mixture, side, reduction="none", log_target=True).sum(1) for side in (p, q)), p.new_zeros(())
    )
