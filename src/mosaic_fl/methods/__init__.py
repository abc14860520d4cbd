"""Methods by name. Each is a function that reads like the algorithm box of its paper."""

from mosaic_fl.methods.fedavg import fedavg
from mosaic_fl.methods.mosaic import mosaic
from mosaic_fl.methods.outcome import Method, Outcome

METHODS: dict[str, Method] = {"mosaic": mosaic, "fedavg": fedavg}

__all__ = ["METHODS", "Method", "Outcome"]
