"""Bounds on the shape of images, and the ways to make a square of a picture."""

from typing import Literal, get_args

# Bounds on a received schema, so that it cannot make a reader allocate without limit.
MAX_CHANNELS = 16
MAX_SIDE = 1024
Fit = Literal["pad", "crop", "stretch"]  # how a picture that is no square becomes one
FITS: tuple[str, ...] = get_args(Fit)
