"""The density of latents as version 0.7 wrote it and drew from it."""

import math

import torch
from torch import Tensor

from mosaic_fl.generators.density import COMPONENTS, ClassMixture


def written_by_0_7(density: ClassMixture) -> dict[str, Tensor]:
    """The state in the form of version 0.7: all components of all classes, N(0, 1) where there is none."""
    classes, latent = len(density.components), density.latent
    state = {
        "share": torch.eye(COMPONENTS)[0].repeat(classes, 1),
        "location": torch.zeros(classes, COMPONENTS, latent),
        "scale": torch.eye(latent).repeat(classes, COMPONENTS, 1, 1),
    }
    for label in range(classes):
        share, location, scale = density.of(label)
        state["share"][label] = 0
        for name, tensor in (("share", share), ("location", location), ("scale", scale)):
            state[name][label, : len(share)] = tensor
    return state


def forward_of_0_7(state: dict[str, Tensor], z: Tensor, labels: Tensor) -> Tensor:
    """The draw of version 0.7, word for word."""
    share = state["share"]
    ends = share[labels].cumsum(1)
    u = (0.5 * (1 + torch.erf(z[:, 0] / math.sqrt(2)))).clamp(1e-6, 1 - 1e-6)
    most = ((share[labels] > 0).sum(1) - 1).clamp(min=0)
    pick = torch.minimum((u[:, None] >= ends).sum(1), most)
    mine = share[labels, pick].clamp(min=1e-6)
    quantile = ((u - (ends.gather(1, pick[:, None]).flatten() - mine)) / mine).clamp(1e-6, 1 - 1e-6)
    first = torch.where(mine < 1, math.sqrt(2) * torch.erfinv(2 * quantile - 1), z[:, 0])
    z = torch.cat([first[:, None], z[:, 1:]], 1)
    return state["location"][labels, pick] + torch.einsum("nij,nj->ni", state["scale"][labels, pick], z)
