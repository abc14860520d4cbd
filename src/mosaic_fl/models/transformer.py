"""`vit:WIDTH:DEPTH`, a small vision transformer.

Dosovitskiy et al.: An Image is Worth 16x16 Words, ICLR 2021 (arXiv 2010.11929). It has the mean of the tokens in place
of a class token, as in Beyer et al.: Better plain ViT baselines for ImageNet-1k, 2022 (arXiv 2205.01580).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.domains.schema import Schema
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.registry import family

MAX_TOKENS = 64  # attention's cost grows with its square
SMALLEST_PATCH = 2  # a token of one pixel has too little information
HEADS = (8, 4, 2, 1)  # the first that divides the width
POSITION_STD = 0.02  # of the learned positions at the start, as in the paper's code


def patch_grid(height: int, width: int) -> tuple[int, int, int]:
    """Side of the smallest patch that makes at most 64 tokens of an image, and their rows and columns.

    8×8 -> (2, 4, 4), 28×28 -> (4, 7, 7), 32×32 -> (4, 8, 8), 96×96 -> (12, 8, 8).
    """
    patch = SMALLEST_PATCH
    while math.ceil(height / patch) * math.ceil(width / patch) > MAX_TOKENS:
        patch += 1
    return patch, math.ceil(height / patch), math.ceil(width / patch)


@family("vit")
class VisionTransformer(Classifier):
    """`depth` pre-norm encoder layers on at most 64 patches, without dropout; features are the mean token.

    Sides that the patch does not divide are padded with zeros (mid-grey) at the right and the bottom.
    """

    def __init__(self, schema: Schema, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        channels, height, side = schema.shape
        patch, rows, columns = patch_grid(height, side)
        self.padding = (0, columns * patch - side, 0, rows * patch - height)
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(1, rows * columns, width))
        nn.init.trunc_normal_(self.positions, std=POSITION_STD)
        heads = next(number for number in HEADS if width % number == 0)
        # Not nn.TransformerEncoder: its layers are copies and would all start with the same weights.
        layers = [
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        ]
        self.body = nn.Sequential(*layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, schema.num_classes)

    def features(self, images: Tensor) -> Tensor:
        tokens = self.embed(F.pad(images, self.padding)).flatten(2).transpose(1, 2)
        encoded: Tensor = self.body(tokens + self.positions)
        return encoded.mean(1)
