"""Methods by name: each is a function that reads like the algorithm of its paper, and has a `Card` for users."""

from mosaic_fl.methods.card import Card
from mosaic_fl.registries import METHODS

__all__ = ["METHODS", "Card"]
