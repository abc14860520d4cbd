"""Model states: a module's tensors by name, their copy and their weighted sum."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
Weights = Mapping[str, Tensor]
"""A state that is read alone, and perhaps from its file when it is asked."""
BLOCK = 100  # states whose tensors exist in double precision at once


def copy_state(model: nn.Module) -> State:
    """The model's state on the CPU, detached from it."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def under(prefix: str, flat: Mapping[str, Tensor]) -> State:
    """The entries of `flat` whose names begin with `prefix`, by the rest of the name."""
    return {name.removeprefix(prefix): tensor for name, tensor in flat.items() if name.startswith(prefix)}


def weighted_sum(states: Sequence[State], weights: Sequence[float]) -> State:
    """Σ_k weights[k]·states[k] in double precision, also of batch-norm statistics; integer buffers take their maximum.

    With weights that sum to one this is the average of FedAvg, and θ^c of Mosaic's class experts.
    """

    def merge(tensors: list[Tensor]) -> Tensor:
        if not tensors[0].is_floating_point():
            return torch.stack(tensors).amax(0)
        sums = [weighted(tensors[at : at + BLOCK], weights[at : at + BLOCK]) for at in range(0, len(tensors), BLOCK)]
        return (sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)).to(tensors[0].dtype)

    def weighted(tensors: list[Tensor], weights: Sequence[float]) -> Tensor:
        block = torch.stack(tensors).double()
        factors = torch.tensor(weights, dtype=torch.float64, device=block.device)
        return block.mul_(factors.view(-1, *[1] * (block.ndim - 1))).sum(0)

    return {name: merge([state[name] for state in states]) for name in states[0]}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under names that begin with `prefix` and a slash, as a file of several states has them."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}
