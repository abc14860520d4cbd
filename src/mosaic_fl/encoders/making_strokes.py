"""Trains the autoencoder of `strokes` on procedural drawings: on one machine each time the same, to the bit."""

import math

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from mosaic_fl.domains.image.prior.strokes import strokes
from mosaic_fl.encoders.strokes import SIDE, SIZE, Autoencoder
from mosaic_fl.numerics.randomness import Stream

DRAWINGS = 30_000
AT_ONCE = 500
STEPS = 8_000
BATCH = 128
RATE = 2e-3
KL = 1.0  # weight of the codes' distance from a standard normal


def strokes_file(drawings: int = DRAWINGS, steps: int = STEPS) -> bytes:
    """The weights as float16 in safetensors: by Adam, with a rate that falls as a cosine."""
    torch.set_num_threads(1)  # more threads would sum in another order
    rng = Stream(0, "encoders-strokes").torch()
    pictures = torch.cat([_drawings(AT_ONCE, rng) for _ in range(math.ceil(drawings / AT_ONCE))])
    with Stream(0, "encoders-strokes-init").ambient():
        network = Autoencoder()
    optimiser = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        batch = pictures[torch.randint(len(pictures), (BATCH,), generator=rng)].float().div_(255)
        loss = _loss(network, batch, torch.randn(BATCH, SIZE, generator=rng))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return save({name: tensor.half() for name, tensor in network.state_dict().items()})


def _drawings(n: int, rng: torch.Generator) -> Tensor:
    """Light strokes on a dark ground, uint8 (n, SIDE²)."""
    pixels = strokes(torch.zeros(n, 3, SIDE, SIDE), torch.ones(n, 3, 1, 1), rng)[:, 0]
    return pixels.flatten(1).mul(255).round_().to(torch.uint8)


def _loss(network: Autoencoder, pictures: Tensor, noise: Tensor) -> Tensor:
    """The negative evidence lower bound, nats a picture; `noise` is standard normal (n, SIZE)."""
    means, variances = network.codes(pictures)
    logits = network.up(means + noise * (variances / 2).exp())
    error = F.binary_cross_entropy_with_logits(logits, pictures, reduction="sum")
    distance = 0.5 * (means.square() + variances.exp() - variances - 1).sum()
    return (error + KL * distance) / len(pictures)
