"""Weights that came from outside, into a module."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from mosaic_fl.errors import UsageError, shown

M = TypeVar("M", bound=nn.Module)


def load_into(build: Callable[[], M], state: dict[str, Tensor], source: str, *, foreign: bool = False) -> M:
    """The module that `build` makes, with a copy of the weights `state`, in eval mode.

    Names, shapes and types are compared on the meta device, so that a manifest which promises a huge network allocates
    nothing. The module takes its weights there: no random ones are drawn that would be written over. One that is
    `foreign` may hold tensors that are not in its state, and is built with memory as well. Raises UsageError that names
    `source` and the first tensor that does not fit.
    """
    module = _outline(build, state, source)
    if foreign:
        module = build()
        module.load_state_dict(state)
        return module.eval()
    layout = {name: tensor.stride() for name, tensor in module.state_dict().items()}  # sums round as in what was built
    module.load_state_dict(
        {
            name: torch.empty_strided(tensor.shape, layout[name], dtype=tensor.dtype).copy_(tensor)
            for name, tensor in state.items()
        },
        assign=True,
    )
    return module.eval()


def share_into(build: Callable[[], M], state: dict[str, Tensor], source: str) -> M:
    """As `load_into`, but frozen: the module uses the tensors of `state` themselves.

    `build` makes no tensor that is not in the module's state. Convolutions are copied, to have their channels last.
    """
    module = _outline(build, state, source)
    module.load_state_dict(state, assign=True)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.eval().requires_grad_(False)


def load_again(module: M, state: dict[str, Tensor], source: str) -> M:
    """`module`, which had other weights, with a copy of the weights `state`, in eval mode on the CPU, no gradients.

    Raises UsageError as `load_into` does.
    """
    _require_same(module, state, source)
    module.zero_grad(set_to_none=True)
    module.load_state_dict(state)
    return module.cpu().eval()


def require_fit(build: Callable[[], M], state: dict[str, Tensor], source: str) -> None:
    """Raise UsageError as `load_into` does; nothing is allocated."""
    with torch.random.fork_rng(devices=[]):
        _outline(build, state, source)


def _outline(build: Callable[[], M], state: dict[str, Tensor], source: str) -> M:
    """The module without memory; raises UsageError unless `state` fits it."""
    with torch.device("meta"):
        module = build()
    _require_same(module, state, source)
    return module


def _require_same(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Raise UsageError unless `state` has the names, shapes and types of the module's."""
    expected = {name: (t.shape, t.dtype) for name, t in module.state_dict().items()}
    for name in sorted(expected.keys() | state.keys()):
        if name not in state or name not in expected:
            raise UsageError(
                f"{source}: weight {shown(name)} is {'missing' if name not in state else 'not in the model'}"
            )
        if (state[name].shape, state[name].dtype) != expected[name]:
            raise UsageError(
                f"{source}: weight {shown(name)} is {state[name].dtype} {shown(tuple(state[name].shape))}, "
                f"the model has {expected[name][1]} {tuple(expected[name][0])}"
            )
