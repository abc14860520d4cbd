"""Part of a client's moments: as if it had told only so many of its vectors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mosaic_fl.numerics.states import State

SCATTERS = ("scatter", "scatter_rest")
COMPONENTS = ("owners", "sizes", "centres")


def part_of(state: Mapping[str, Tensor], credit: Tensor) -> State:
    """The state of moments of which the part `credit` (C,), 0..1, of each class counts; a count is rounded up.

    A scatter or squares of all classes together keep the part of all vectors that is left. Noise is at most as large as
    it says then. Components are those of all vectors, so each class is one Gaussian again.
    """
    counts = state["counts"].cpu()
    left = (counts.double() * credit - 1e-6).ceil().long()
    share = float(left.clamp(min=0).sum()) / max(float(counts.clamp(min=0).sum()), 1.0)
    result = {**state, "counts": torch.where(credit < 1, left, counts)}
    result |= {name: (state[name].double() * share).float() for name in SCATTERS if name in state}
    result |= {name: state[name][:0] for name in COMPONENTS if name in state}
    if "sums" in state:
        result["sums"] = (state["sums"].double() * credit[:, None]).float()
        by_class = state["squares"].ndim == 2
        result["squares"] = (state["squares"].double() * (credit[:, None] if by_class else share)).float()
        result["noise"] = state["noise"] * max(float(credit.max()), 1e-6)
    return result
