"""Methods by name. Each is a function that reads like the algorithm box of its paper."""

from mosaic_fl.methods import coboosting, dense, fedavg, mosaic, width
from mosaic_fl.methods.outcome import Card, Outcome

METHODS: dict[str, Card] = {
    "mosaic": mosaic.CARD,
    "fedavg": fedavg.CARD,
    "dense": dense.CARD,
    "coboosting": coboosting.CARD,
    "heterofl": width.HETEROFL,
    "fedrolex": width.FEDROLEX,
}
"""Methods that average weights, so that all clients need one architecture."""

__all__ = ["AVERAGING", "METHODS", "Method", "Outcome"]
