"""Model replacement in rounds of averaging (Bagdasaryan et al. 2020): an update that outweighs all others."""

from mosaic_fl.attacks.attack import Scene
from mosaic_fl.numerics.states import State


def boosted(before: State, after: State, scene: Scene) -> State:
    """before + N/f · (after − before): the average of N clients, of which f lie, is then the attackers' model."""
    factor = len(scene.counts) / len(scene.liars)
    return {
        name: (before[name].double() + factor * (tensor.double() - before[name].double())).to(tensor.dtype)
        if tensor.is_floating_point() and name in before
        else tensor
        for name, tensor in after.items()
    }


def reversed_update(before: State, after: State, scene: Scene) -> State:
    """The opposite of what was learned."""
    return {
        name: 2 * before[name] - tensor if tensor.is_floating_point() and name in before else tensor
        for name, tensor in after.items()
    }
