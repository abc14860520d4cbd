"""How large a network's intermediate results are, found on the meta device, where they take no memory."""

from typing import Any

import torch
from torch import Tensor, nn

from mosaic_fl.errors import UsageError

MAX_MAP = 2**28  # values a sample in the output of any layer: 1 GiB in float32


@torch.no_grad()
def require_small_maps(what: str, module: nn.Module, *inputs: Tensor) -> Any:
    """What `module` gives for a batch on the meta device; raises UsageError where a layer gives more than `MAX_MAP`.

    A small received file could ask for terabytes: parameters are few where maps are large. `what` names it in errors.
    """
    largest, samples = 0, len(inputs[0])

    def note(_layer: nn.Module, _inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel() // samples)

    hooks = [layer.register_forward_hook(note) for layer in module.modules()]
    try:
        output = module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if largest > MAX_MAP:
        raise UsageError(f"{what}: a layer gives {largest:,} values a sample: at most {MAX_MAP:,}")
    return output
