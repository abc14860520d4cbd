"""The search for a sample in the latents of an opened generator."""

import math

import torch
from torch import Tensor

from mosaic_fl.generators.base import Generator

STEPS = 30
RATE = 0.1
BATCH = 128
PASSES = 1  # of the estimated work that a step with its gradients takes: the estimate is for a slow core


def search(generator: Generator, latents: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The least mean squared errors float32 (n,) of `targets` (n, d), scaled by 1/√d, from `latents` (n, latent).

    Adam (Kingma & Ba 2015) goes down from the places to which the generator takes the latents; each sample keeps its
    best step.
    """
    parts = list[Tensor]()
    for z, y, target in zip(latents.split(BATCH), labels.split(BATCH), targets.split(BATCH), strict=True):
        with torch.no_grad():
            place = generator.place(z, y)
        place = place.clone().requires_grad_()
        optimiser = torch.optim.Adam([place], RATE)
        best = torch.full((len(y),), torch.inf)
        for _ in range(STEPS):
            optimiser.zero_grad()
            outputs = generator.decode(place, y).flatten(1)
            errors = (outputs / math.sqrt(outputs.shape[1]) - target).square().sum(1)
            best = torch.minimum(best, errors.detach())
            errors.sum().backward()
            optimiser.step()
        parts.append(best)
    return torch.cat(parts)
