"""Loading of weights into a module, with checks for weights that came from outside."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from mosaic_fl.errors import UsageError, excerpt

M = TypeVar("M", bound=nn.Module)


def load_into(build: Callable[[], M], state: dict[str, Tensor], source: str, *, foreign: bool = False) -> M:
    """The module that `build` makes, with a copy of the weights `state`, in eval mode.

    Names, shapes and types are compared on the meta device, so that the name of a huge network allocates nothing. The
    module gets its weights there: no random weights are drawn first. A `foreign` module may have tensors that are not
    in its state, so it is built in memory. Raises UsageError that names `source` and the first tensor that does not
    fit.
    """
    module = _outline(build, state, source)
    if foreign:
        module = build()
        module.load_state_dict(state)
        return module.eval()
    layout = {
        name: tensor.stride() for name, tensor in module.state_dict().items()
    }  # so that sums round as in a built module
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

    All tensors of the module must be in its state. Convolutions are copied, to the memory format channels last.
    """
    module = _outline(build, state, source)
    module.load_state_dict(state, assign=True)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return module.eval().requires_grad_(False)


def load_again(module: M, state: dict[str, Tensor], source: str) -> M:
    """`module` with a copy of the weights `state` in place of its own, in eval mode on the CPU, without gradients.

    Raises UsageError as `load_into` does.
    """
    own = module.state_dict()
    _require_same(own, state, source)
    module.zero_grad(set_to_none=True)
    with torch.no_grad():
        torch._foreach_copy_(list(own.values()), [state[name] for name in own])
    if any(tensor.device.type != "cpu" for tensor in own.values()):
        module.cpu()
    return module.eval()


def require_fit(build: Callable[[], M], state: dict[str, Tensor], source: str) -> None:
    """Raise UsageError as `load_into` does; nothing is allocated."""
    with torch.random.fork_rng(devices=[]):
        _outline(build, state, source)


def _outline(build: Callable[[], M], state: dict[str, Tensor], source: str) -> M:
    """The module without memory; raises UsageError unless `state` fits it."""
    with torch.device("meta"):
        module = build()
    _require_same(module.state_dict(), state, source)
    return module


def _require_same(own: Mapping[str, Tensor], state: dict[str, Tensor], source: str) -> None:
    """Raise UsageError unless `state` has the names, shapes and types of a module's `own`."""
    outline = {name: (t.shape, t.dtype) for name, t in own.items()}
    if outline == {name: (t.shape, t.dtype) for name, t in state.items()}:
        return
    for name in sorted(outline.keys() | state.keys()):
        if name not in state or name not in outline:
            raise UsageError(
                f"{source}: weight {excerpt(name)} is {'missing' if name not in state else 'not in the model'}"
            )
        if (state[name].shape, state[name].dtype) != outline[name]:
            raise UsageError(
                f"{source}: weight {excerpt(name)} is {state[name].dtype} {excerpt(tuple(state[name].shape))}, "
                f"the model has {outline[name][1]} {tuple(outline[name][0])}"
            )
