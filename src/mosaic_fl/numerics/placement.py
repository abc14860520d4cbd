"""Networks and small tensors on their way to a device and back."""

from itertools import chain

import torch
from torch import Tensor, nn


def settle(model: nn.Module, device: torch.device) -> None:
    """Move `model` to `device`; on CUDA its convolutions then calculate with channels last, as tensor cores do."""
    if device.type != "cpu" or _is_away(model):  # a walk through all modules takes as long as half a step of few units
        model.to(device)
    if device.type == "cuda":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def bring_back(model: nn.Module) -> None:
    """Move `model` to the CPU, with its weights laid out as files hold them."""
    if _is_away(model):
        model.cpu()
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _is_away(model: nn.Module) -> bool:
    """Whether the network, all of which is on one device, is not on the CPU."""
    first = next(chain(model.parameters(), model.buffers()), None)
    return first is not None and first.device.type != "cpu"


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` of the CPU on `device`. CUDA does not wait for the copy, nor for the work before it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
