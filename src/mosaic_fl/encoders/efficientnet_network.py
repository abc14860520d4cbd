"""The network of EfficientNet-Lite0 up to its last block, for inference (Liu 2020, after Tan & Le 2019).

Names of weights are those of the package `efficientnet-lite-pytorch`, whose file of weights is read, and the maps are
those of its network bit for bit. It is written here so that a global model's file can hold the encoder: then no package
is needed where the model is used.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-3  # of batch normalisation
STEM = 32  # channels
# Blocks, their kernel's side, the stride of the first, the factor of expansion, and the channels that come out.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConvolution(nn.Conv2d):
    """A convolution whose maps have the side ⌈side / stride⌉; an odd border has its further row at the end."""

    def forward(self, maps: Tensor) -> Tensor:
        """(n, channels, h, w) -> the convolved maps."""
        (height, below), (width, right) = (self._border(side) for side in maps.shape[2:])
        if height + below + width + right:
            maps = F.pad(maps, (width, right, height, below))
        return F.conv2d(maps, self.weight, None, self.stride, 0, 1, self.groups)

    def _border(self, side: int) -> tuple[int, int]:
        """The rows before and after."""
        stride = self.stride[0]
        whole = max((-(-side // stride) - 1) * stride + self.kernel_size[0] - side, 0)
        return whole // 2, whole - whole // 2


class Block(nn.Module):
    """An inverted bottleneck: expanded, filtered channel by channel, projected; added to its input if of its shape."""

    def __init__(self, channels: int, size: int, side: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.expands = expansion > 1
        self.skips = stride == 1 and channels == size
        if self.expands:
            self._expand_conv = SameConvolution(channels, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, EPSILON)
        self._depthwise_conv = SameConvolution(inner, inner, side, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, EPSILON)
        self._project_conv = SameConvolution(inner, size, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(size, EPSILON)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, channels, h, w) -> (n, size, ⌈h / stride⌉, ⌈w / stride⌉)."""
        maps: Tensor = F.relu6(self._bn0(self._expand_conv(inputs))) if self.expands else inputs
        maps = F.relu6(self._bn1(self._depthwise_conv(maps)))
        maps = self._bn2(self._project_conv(maps))
        return maps + inputs if self.skips else maps


class Lite0(nn.Module):
    """Pictures float32 (n, 3, h, w), scaled as the network learnt -> the maps after each of its 16 blocks in turn."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConvolution(3, STEM, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(STEM, EPSILON)
        blocks = list[nn.Module]()
        channels = STEM
        for count, side, stride, expansion, size in STAGES:
            for place in range(count):
                blocks.append(Block(channels, size, side, 1 if place else stride, expansion))
                channels = size
        self._blocks = nn.ModuleList(blocks)

    def maps(self, pictures: Tensor) -> Iterator[Tensor]:
        """The maps after each block."""
        maps = F.relu6(self._bn0(self._conv_stem(pictures)))
        for block in self._blocks:
            maps = block(maps)
            yield maps
