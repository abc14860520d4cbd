"""Pictures of given vectors: a frozen encoder, inverted by descent on pixels.

A decoder draws smooth pictures, of which an encoder says something else than what they were drawn from. Descent on
their pixels mends that (feature inversion: Mahendran and Vedaldi 2015; for distillation DeepInversion, Yin et al.
2020). No data are asked: what comes in is vectors, as those drawn from class moments. Figures: docs/notes/encoders.md.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mosaic_fl.encoders.encoder import Encoder, deaf
from mosaic_fl.encoders.variation import at_rest
from mosaic_fl.errors import UsageError

AT_ONCE = 128
RATE = 0.6  # of Adam, on the logits of pixels; it falls to zero over the second half of the steps
EDGE = 0.02  # of 0..1: how near to black and white a pixel begins, beyond which its logit hardly moves
ROUGHNESS = 10.0  # weight of `roughness`

Distance = Callable[[Tensor, Tensor], Tensor]
"""(vectors (n, d), rows (n,) of the targets) -> how far they are from these, (n,), with gradients."""


def inverted(
    encoder: Encoder,
    pictures: Tensor,
    distance: Distance,
    steps: int,
    device: torch.device | str = "cpu",
    tell: Callable[[int], None] = deaf,
) -> Tensor:
    """`pictures` uint8 (n, channels, h, w), moved for `steps` steps to where `distance` of their vectors is small.

    A copy on the CPU; nothing is random. `tell` hears how many are ready. Raises UsageError for an encoder without a
    smooth map, or one whose gradients are not finite.
    """
    if encoder.smooth is None:
        raise UsageError(f"encoder {encoder.name} has no gradients: say distill.inversion = 0")
    if not len(pictures):
        return pictures.clone()
    parts = list[Tensor]()
    place = torch.device(device)
    for rows in torch.arange(len(pictures)).split(AT_ONCE):
        pixels = (pictures[rows].to(place, torch.float32) / 255).clamp(EDGE, 1 - EDGE)
        logits = torch.logit(pixels).requires_grad_()
        optimiser = torch.optim.Adam([logits], lr=RATE)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1.0, 2 * (1 - step / steps))
            pixels = torch.sigmoid(logits)
            loss = (distance(encoder.smooth(pixels, place), rows) + ROUGHNESS * roughness(pixels)).sum()
            (logits.grad,) = torch.autograd.grad(loss, [logits])
            if not bool(logits.grad.isfinite().all()):
                raise UsageError(f"encoder {encoder.name} has gradients that are not finite: say distill.inversion = 0")
            optimiser.step()
        parts.append(at_rest(torch.sigmoid(logits.detach()) * 255).cpu())
        tell(int(rows[-1]) + 1)
    return torch.cat(parts)


def roughness(pixels: Tensor) -> Tensor:
    """The squared differences of neighbours along rows and columns over the pixels, (n,), of (n, channels, h, w)."""
    along = (pixels[..., 1:] - pixels[..., :-1]).square().sum((1, 2, 3))
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).square().sum((1, 2, 3))
    return (along + down) / math.prod(pixels.shape[1:])
