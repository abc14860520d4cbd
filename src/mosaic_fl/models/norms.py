"""Normalisation layers: batch norm, or group norm (Wu & He, ECCV 2018), which mixes no samples of a batch."""

from math import gcd

from torch import nn

LEAST = 8  # units of a group of a vector: of one unit alone nothing is left, of two a sign


def norm(channels: int, groups: int, dimensions: int = 2) -> nn.Module:
    """Batch norm of `channels` over maps with two `dimensions`, or over vectors (1); with `groups` above 0 group norm.

    The number of groups divides both `groups` and `channels`; of vectors a group has `LEAST` units, or it is the only
    one.
    """
    if not groups:
        return nn.BatchNorm1d(channels) if dimensions == 1 else nn.BatchNorm2d(channels)
    count = gcd(groups, channels)
    while dimensions == 1 and count > 1 and channels // count < LEAST:
        count = max(n for n in range(1, count) if count % n == 0)
    return nn.GroupNorm(count, channels)
