"""Methods by name. Each is a function that reads like the algorithm box of its paper; its words are on its `Card`."""

from mosaic_fl.methods.card import Card
from mosaic_fl.registries import METHODS

__all__ = ["METHODS", "Card"]
