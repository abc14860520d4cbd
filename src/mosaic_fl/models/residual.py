"""Residual networks with a stem for small images: `resnet18`, `resnet34`, `resnet50`, `resnet8`, `resnet20`.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv 1512.03385).
"""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.norms import norm
from mosaic_fl.models.registry import family


class StridedPointwise(nn.Conv2d):
    """A 1×1 convolution of every `stride`-th pixel.

    The pixels are picked before it: oneDNN's own stride, with fewer than eight channels last in memory, writes past
    the gradient's end (torch 2.13), which ends the process sooner or later.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)
        self.every = stride

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, :, :: self.every, :: self.every])


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 0) -> nn.Sequential:
    """A size×size convolution and its norm (`norms.norm`); stride s halves sides to ⌈side / s⌉."""
    if size == 1 and stride > 1:
        return nn.Sequential(StridedPointwise(inputs, outputs, stride), norm(outputs, groups))
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), norm(outputs, groups))


def relu(groups: int) -> nn.ReLU:
    """In place, which saves memory; not behind a group norm, of which the gradients of each sample need the outputs."""
    return nn.ReLU(inplace=not groups)


class ZeroPadShortcut(nn.Module):
    """The shortcut without parameters: every `stride`-th pixel, new channels zero (section 4.2, option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.new_channels = outputs - inputs
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.new_channels))


class ResidualBlock(nn.Module):
    """x -> ReLU(branch(x) + shortcut(x)), the shortcut being x where shapes agree (equations 1 and 2).

    Subclasses say what the branch is; it ends in a norm and has `expansion` × `width` output channels.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int, project: bool, groups: int = 0) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.branch = self.make_branch(inputs, width, stride, groups)
        self.shortcut: nn.Module
        if stride == 1 and inputs == outputs:
            self.shortcut = nn.Identity()
        elif project:
            self.shortcut = convolution(inputs, outputs, 1, stride, groups)
        else:
            self.shortcut = ZeroPadShortcut(inputs, outputs, stride)

    def make_branch(self, inputs: int, width: int, stride: int, groups: int) -> nn.Sequential:
        """The residual function's layers."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x))


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions (figure 5, left)."""

    def make_branch(self, inputs: int, width: int, stride: int, groups: int) -> nn.Sequential:
        return nn.Sequential(
            *convolution(inputs, width, 3, stride, groups), relu(groups), *convolution(width, width, 3, 1, groups)
        )


class Bottleneck(ResidualBlock):
    """1×1, 3×3 and 1×1 convolutions (figure 5, right); the 3×3 one strides, so that no pixel is skipped."""

    expansion: ClassVar[int] = 4

    def make_branch(self, inputs: int, width: int, stride: int, groups: int) -> nn.Sequential:
        return nn.Sequential(
            *convolution(inputs, width, 1, 1, groups),
            relu(groups),
            *convolution(width, width, 3, stride, groups),
            relu(groups),
            *convolution(width, width * self.expansion, 1, 1, groups),
        )


class ResNet(Classifier):
    """A 3×3 stem without pooling, `depths[i]` blocks of width·2ⁱ in stage i, global average pooling, `head`.

    Every stage but the first halves the sides, so 8×8 images end as 1×1 maps after four stages. `project`
    takes 1×1 convolutions as shortcuts where shapes change (option B), otherwise zero padding (option A).
    Convolutions start as He et al. 2015 (arXiv 1502.01852, equation 14).
    """

    def __init__(
        self,
        schema: Schema,
        block: type[ResidualBlock],
        depths: Sequence[int],
        width: int,
        groups: int = 0,
        *,
        project: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [*convolution(schema.shape[0], width, 3, 1, groups), relu(groups)]
        channels = width
        for stage, depth in enumerate(depths):
            for i in range(depth):
                stride = 2 if stage and i == 0 else 1
                layers.append(block(channels, width * 2**stage, stride, project, groups))
                channels = width * 2**stage * block.expansion
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(channels, schema.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images: Tensor) -> Tensor:
        maps: Tensor = self.body(images)
        return maps.mean((2, 3))


@family("resnet8")
def resnet8(schema: Schema, width: int = 16, groups: int = 0) -> ResNet:
    """ResNet-8: 6n + 2 layers with n = 1 (section 4.2), widths 16, 32, 64."""
    return ResNet(schema, BasicBlock, (1, 1, 1), width, groups, project=False)


@family("resnet20")
def resnet20(schema: Schema, width: int = 16, groups: int = 0) -> ResNet:
    """ResNet-20: 6n + 2 layers with n = 3 (section 4.2), widths 16, 32, 64."""
    return ResNet(schema, BasicBlock, (3, 3, 3), width, groups, project=False)


@family("resnet18")
def resnet18(schema: Schema, width: int = 64, groups: int = 0) -> ResNet:
    """ResNet-18 (table 1), widths 64 to 512."""
    return ResNet(schema, BasicBlock, (2, 2, 2, 2), width, groups)


@family("resnet34")
def resnet34(schema: Schema, width: int = 64, groups: int = 0) -> ResNet:
    """ResNet-34 (table 1), widths 64 to 512."""
    return ResNet(schema, BasicBlock, (3, 4, 6, 3), width, groups)


@family("resnet50")
def resnet50(schema: Schema, width: int = 64, groups: int = 0) -> ResNet:
    """ResNet-50 (table 1), widths 256 to 2048."""
    return ResNet(schema, Bottleneck, (3, 4, 6, 3), width, groups)
