"""Names of sub-models: one architecture at a fraction of its width.

The five ratios are those of HeteroFL (Diao, Ding, Tarokh 2021, arXiv 2010.01264, section 4).
"""

import math
from fractions import Fraction

from mosaic_fl.errors import UsageError
from mosaic_fl.models.registry import families

Ratio = Fraction | float

RATIOS: tuple[Fraction, ...] = tuple(Fraction(1, n) for n in (1, 2, 4, 8, 16))
CUTTABLE = (
    "cnn",
    "mlp",
    "resnet8",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
)  # not vit: its heads divide the width


def narrow(spec: str, ratio: Ratio) -> str:
    """The name of the sub-model of `spec` with ⌈ratio · width⌉ units: `cnn:16:3` at 1/4 is `cnn:4:3`.

    A name without a width has its family's default one. Raises UsageError for a ratio that is not one of
    `RATIOS`, for a family whose width cannot be cut, and for a width out of the family's bounds.
    """
    head, *numbers = spec.split(":")
    if head not in CUTTABLE:
        raise UsageError(f"model {spec!r} has no sub-models of smaller width: these have: {', '.join(CUTTABLE)}")
    if ratio not in RATIOS:
        raise UsageError(f"width ratio {ratio} is not one of {', '.join(map(str, RATIOS))}")
    _, least, greatest, default = families()[head].bounds[0]
    text, *more_numbers = numbers or [str(default)]
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= greatest):
        raise UsageError(f"model {spec!r}: width {text!r} is not a number in {least}..{greatest}")
    return ":".join([head, str(math.ceil(Fraction(ratio) * int(text))), *more_numbers])
