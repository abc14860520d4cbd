"""Bounds on images, and how pictures are fitted into them."""

from typing import Literal, get_args

# On what a received schema may claim, so that it cannot make a reader allocate without limit.
MAX_CHANNELS = 16
MAX_SIDE = 1024
Fit = Literal["pad", "crop", "stretch"]  # how a picture that is no square becomes one
FITS: tuple[str, ...] = get_args(Fit)
