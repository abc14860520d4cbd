"""Sub-models of one architecture: the channels of the full model that each has, how to cut it out, and how to merge it.

HeteroFL (Diao et al. 2021, arXiv 2010.01264, section 3) gives a sub-model the first channels of every layer. FedRolex
(Alam et al. 2022, arXiv 2212.01548, section 3.2) gives it a window that moves on by one channel a round, around the
end: channels (roll + j) mod width for j < size, so that all are trained equally often. Roll 0 is HeteroFL. All windows
move together, as in the paper. In time every client trains every channel. But a client never trains a weight between
two channels that are further apart than its windows are wide: only wider clients do.

A sub-model is the full network without its other channels: a layer reads the channels that its producers hold, all
layers that write to one residual stream hold the same channels of it, and every sub-model has all pixels of the input
and all classes.

Where a shortcut pads with zeros (`resnet8`, `resnet20`), channel i of the narrow stream is added to channel i of the
wide one, and the channels after those are new. One window over the wide stream would separate these pairs as soon as it
rolls past the narrow width. So each part has its own window: that of the narrow stream, then one within the new
channels. A channel then has a shortcut in the sub-model exactly where it has one in the full model. At roll 0 these are
the first channels of each part: with 16 -> 32 channels at 1/4, channels 0..3 and 16..19.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import build
from mosaic_fl.models.residual import ResidualBlock, ZeroPadShortcut
from mosaic_fl.models.width import Ratio, narrow

State = dict[str, Tensor]
Window = tuple[Tensor, ...]  # int64, one per dimension: where the sub-model's entries lie in the full model's
Windows = Mapping[str, Window]


def indices(full_spec: str, ratio: Ratio, schema: Schema, roll: int = 0) -> dict[str, Window]:
    """The window of every entry of the state of `narrow(full_spec, ratio)` in the state of `full_spec`.

    The windows have moved on by `roll` channels, each around its own layer's width. Allocates no weights. Raises
    UsageError as `narrow` and `build` do.
    """
    part = _skeleton(narrow(full_spec, ratio), schema)
    full = _skeleton(full_spec, schema)
    walk = _Walk(roll)
    pixels = Channels.all(schema.shape[0])
    classes = Channels.all(schema.num_classes)
    features = walk.through("body", full.get_submodule("body"), part.get_submodule("body"), pixels)
    walk.through("head", full.head, part.head, features, classes)
    return {name: walk.windows[name] for name in full.state_dict()}


def extract(state: State, windows: Windows) -> State:
    """The sub-model's own copy of its entries of the full model's `state`."""
    return {name: tensor[_grid(windows[name])].clone() for name, tensor in state.items()}


def merge(full_state: State, parts: Sequence[tuple[State, Windows, float]]) -> State:
    """The full model, in which each entry is the mean over the sub-models that have it, weighted by `weight`.

    `parts` holds (state, windows, weight) per sub-model; an entry that no sub-model has does not change. Sums are in
    float64, so that equal models merge to themselves exactly. A whole-number buffer becomes the largest. Raises
    UsageError for a tensor that is not of the shape of its window.
    """
    for state, windows, _ in parts:
        for name, window in windows.items():
            if state[name].shape != (shape := tuple(map(len, window))):
                raise UsageError(f"sub-model's weight {name!r} is {tuple(state[name].shape)}, its window is {shape}")
    return {
        name: _merge_entry(tensor, [(state[name], _grid(windows[name]), weight) for state, windows, weight in parts])
        for name, tensor in full_state.items()
    }


@lru_cache(maxsize=64)  # a run needs the same few in every round, and building ResNet-50 takes a second
def _skeleton(spec: str, schema: Schema) -> Classifier:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return build(spec, schema)


def _merge_entry(tensor: Tensor, parts: Iterable[tuple[Tensor, Window, float]]) -> Tensor:
    if not tensor.is_floating_point():
        largest = tensor.clone()
        for part, at, _ in parts:
            largest[at] = torch.maximum(largest[at], part)
        return largest
    total = torch.zeros_like(tensor, dtype=torch.float64)
    weights = torch.zeros_like(tensor, dtype=torch.float64)
    for part, at, weight in parts:
        total[at] += weight * part.double()
        weights[at] += weight
    return torch.where(weights > 0, total / weights, tensor.double()).to(tensor.dtype)


def _grid(window: Window) -> Window:
    """The index tensors, each along its own dimension, so that together they select a block."""
    return tuple(index.view([-1 if d == i else 1 for d in range(len(window))]) for i, index in enumerate(window))


@dataclass(frozen=True)
class Channels:
    """The channels of an activation in a sub-model: `index`, in its order, of the full model's `width` channels."""

    index: Tensor
    width: int

    @classmethod
    def all(cls, width: int) -> "Channels":
        """Every channel."""
        return cls(torch.arange(width), width)

    def positions(self, size: int) -> Tensor:
        """Their positions in an activation that is flattened to `size` numbers; where that is `width`, the channels."""
        pixels = size // self.width
        return (self.index[:, None] * pixels + torch.arange(pixels)).flatten()


class _Walk:
    """Follows an activation through the full network and its sub-model, and records every layer's window."""

    def __init__(self, roll: int) -> None:
        self.roll = roll
        self.windows = dict[str, Window]()

    def rolling(self, width: int, size: int) -> Channels:
        """The window of `size` out of `width` channels."""
        return Channels((self.roll + torch.arange(size)) % width, width)

    def through(
        self, name: str, full: nn.Module, part: nn.Module, inputs: Channels, outputs: Channels | None = None
    ) -> Channels:
        """The channels after the module `name`, which gets the channels `inputs`.

        `outputs` are the channels that another layer prescribes, if one does.
        """
        match full, part:
            case nn.Sequential(), nn.Sequential():
                return self._in_turn(name, full, part, inputs, outputs)
            case ResidualBlock(), ResidualBlock():
                stream = self.through(f"{name}.shortcut", full.shortcut, part.shortcut, inputs)
                return self.through(f"{name}.branch", full.branch, part.branch, inputs, outputs=stream)
            case ZeroPadShortcut(), ZeroPadShortcut():
                new = self.rolling(full.new_channels, part.new_channels)
                return Channels(torch.cat([inputs.index, inputs.width + new.index]), inputs.width + new.width)
            case ((nn.Conv2d() | nn.Linear()), (nn.Conv2d() | nn.Linear())):
                out, read, *kernel = full.weight.shape
                channels = outputs or self.rolling(out, len(part.weight))
                kernel_index = [torch.arange(side) for side in kernel]
                self.windows[f"{name}.weight"] = (channels.index, inputs.positions(read), *kernel_index)
                self.windows[f"{name}.bias"] = (channels.index,)
                return channels
            case ((nn.BatchNorm1d() | nn.BatchNorm2d() | nn.GroupNorm()), _):
                for key, tensor in full.state_dict().items():  # one number a channel, or the count of batches
                    self.windows[f"{name}.{key}"] = (inputs.index,) if tensor.ndim else ()
        return inputs  # pooling, ReLU, flattening and identity keep the channels

    def _in_turn(
        self, name: str, full: nn.Sequential, part: nn.Sequential, inputs: Channels, outputs: Channels | None
    ) -> Channels:
        last = max((i for i, layer in enumerate(full) if isinstance(layer, nn.Conv2d | nn.Linear)), default=-1)
        for i, (layer, smaller) in enumerate(zip(full, part, strict=True)):
            inputs = self.through(f"{name}.{i}", layer, smaller, inputs, outputs if i == last else None)
        return inputs
