"""Methods by name. Each is a function that reads like the algorithm box of its paper."""

from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.mosaic import mosaic
from mosaic_fl.methods.outcome import Method, Outcome
from mosaic_fl.methods.width import fedrolex, heterofl

METHODS: dict[str, Method] = {"mosaic": mosaic, "fedavg": fedavg, "heterofl": heterofl, "fedrolex": fedrolex}
AVERAGING = ("fedavg", "heterofl", "fedrolex")
"""Methods that average weights, so that all clients need one architecture."""

__all__ = ["AVERAGING", "METHODS", "Method", "Outcome"]
