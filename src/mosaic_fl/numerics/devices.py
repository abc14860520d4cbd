"""Devices by name, as `--device` takes them, and how many images to pass through a network at once there."""

from typing import TYPE_CHECKING, Literal

from mosaic_fl.errors import UsageError

if TYPE_CHECKING:
    import torch

KINDS = ("auto", "cpu", "cuda", "mps", "xpu", "hpu", "npu", "mtia", "xla")
"""What a device's name may begin with, whether or not this machine has such a device."""
Precision = Literal["auto", "float32"]
"""A setting: `auto` is bfloat16 on CUDA. On any other device both are float32."""
AT_ONCE = 1000  # images
AT_ONCE_ON_CPU = 128  # images; the feature maps of a thousand do not fit its caches


def require_device_name(name: str) -> None:
    """Raise UsageError for a name that is no device's on any machine."""
    if name.partition(":")[0] not in KINDS:
        raise _absent(name)


def find_device(name: str) -> "torch.device":
    """The device of that name; `auto` is the first CUDA device, or the CPU. Raises UsageError where it is absent."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise _absent(name) from error
    return device


def images_at_once(device: "torch.device | str") -> int:
    """How many images to pass through a network at once without gradients, as is fast on `device`."""
    import torch

    return AT_ONCE_ON_CPU if torch.device(device).type == "cpu" else AT_ONCE


def _absent(name: str) -> UsageError:
    return UsageError(f"device {name!r} is not available here: use auto or cpu")
