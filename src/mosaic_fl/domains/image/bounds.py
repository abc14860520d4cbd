"""Bounds on images, and how pictures are fitted into them."""

from typing import Literal, get_args

# On what a received schema may claim, so that it cannot make a reader allocate without limit.
MAX_CHANNELS, MAX_SIDE = 16, 1024
Fit = Literal["pad", "crop", "stretch"]  # how a picture that is no square becomes one
FITS: tuple[str, ...] = get_args(Fit)
