"""The precision of arithmetic in training: bfloat16 products on CUDA, with float32 weights; elsewhere float32."""

from contextlib import AbstractContextManager, nullcontext

import torch

from mosaic_fl.numerics.devices import Precision


def mixed(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Within the block layers calculate in the precision of the setting on `device`; weights stay float32.

    Losses, norms and softmax stay float32, too (torch's list for autocast). A weight is used once or twice a pass, so
    its copies in bfloat16 are not cached; a CUDA graph could not hold them anyway.
    """
    if device.type != "cuda" or precision != "auto" or not torch.cuda.is_bf16_supported():
        return nullcontext()
    return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)
