"""A pick by one uniform number, which stays uniform for what is drawn next."""

import torch
from torch import Tensor

EDGE = 1e-6  # distance of a uniform number from 0 and 1


def uniform(z: Tensor) -> Tensor:
    """Φ(z), uniform in `EDGE`..1 − `EDGE`, of standard normal numbers `z`."""
    level: Tensor = torch.special.ndtr(z)
    return level.clamp(EDGE, 1 - EDGE)


def pick(share: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """(place int64 (n,), uniform float32 (n,)) by the shares (n, m) and uniform numbers `u` (n,) in 0..1.

    The place is the one in whose share `u` lies. Where within that share it lies, scaled to 0..1, is uniform again.
    """
    ends = share.cumsum(1)
    places = torch.arange(share.shape[1], device=share.device)
    last = ((share > 0) * places).amax(1)  # rounding may pass the last end
    at = u[:, None] * ends[:, -1:]
    picked = torch.minimum((at >= ends).sum(1), last)[:, None]
    own = share.gather(1, picked).clamp(min=EDGE)
    level = (at - (ends.gather(1, picked) - own)) / own
    return picked.flatten(), level.flatten().clamp(EDGE, 1 - EDGE)
