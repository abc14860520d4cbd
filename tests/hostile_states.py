"""Changes to the tensors of a received state, for tests of what is refused."""

from collections.abc import Callable

from torch import Tensor


def changed(place: int, value: float) -> Callable[[Tensor], Tensor]:
    """A copy of a tensor with `value` at a place, counted over all its numbers."""

    def change(tensor: Tensor) -> Tensor:
        copy = tensor.clone().flatten()
        copy[place] = value
        return copy.view(tensor.shape)

    return change
