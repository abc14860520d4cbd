"""Normalisation layers: batch norm, or group norm (Wu & He, ECCV 2018), which mixes no samples of a batch."""

from math import gcd

from torch import nn


def norm(channels: int, groups: int, dimensions: int = 2) -> nn.Module:
    """Batch norm of `channels` over maps with two `dimensions`, or over vectors (1); with `groups` above 0 group norm.

    The number of groups is the largest that divides both `groups` and `channels`.
    """
    if groups:
        return nn.GroupNorm(gcd(groups, channels), channels)
    return nn.BatchNorm2d(channels) if dimensions == 2 else nn.BatchNorm1d(channels)
