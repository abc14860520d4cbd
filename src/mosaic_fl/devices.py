"""Where work is done: a device by name."""

import torch

from mosaic_fl.errors import UsageError

AT_ONCE = 1000
AT_ONCE_ON_CPU = 128  # the maps of a thousand leave its caches


def find_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, or the CPU; raises UsageError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device {name!r} is not available here: use auto or cpu") from error
    return device


def images_at_once(device: torch.device | str) -> int:
    """How many images to pass through a network where no gradients are wanted: what is fast on `device`."""
    return AT_ONCE_ON_CPU if torch.device(device).type == "cpu" else AT_ONCE
