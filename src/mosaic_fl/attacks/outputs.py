"""The output layer of a network, found in its weights."""

from torch import Tensor

from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.states import State


def outputs_at(state: State, classes: int) -> tuple[Tensor, Tensor | None]:
    """(weight (C, …), bias (C,) or None) of the last layer with an output for each of `classes`.

    Raises UsageError where there is none, as in a state that is no network's.
    """
    name = _name(state, classes)
    return state[name], state.get(_bias(name))


def with_outputs(state: State, weight: Tensor, bias: Tensor | None) -> State:
    """The state with another weight and bias of its output layer."""
    name = _name(state, len(weight))
    changed = {name: weight.contiguous()} if bias is None else {name: weight.contiguous(), _bias(name): bias}
    return {**state, **changed}


def _bias(name: str) -> str:
    return name.removesuffix("weight") + "bias"


def _name(state: State, classes: int) -> str:
    names = [
        name
        for name, tensor in state.items()
        if name.endswith("weight") and tensor.is_floating_point() and tensor.ndim >= 2 and len(tensor) == classes
    ]
    if not names:
        raise UsageError(f"the attack changes a network's output layer, and this state has none for {classes} classes")
    return "head.weight" if "head.weight" in names else names[-1]
