"""Methods by name. Each is a function that reads like the algorithm box of its paper."""

from mosaic_fl.methods import dfrd, fedavg, feddf, fedftg, fedgen, mosaic, width
from mosaic_fl.methods.outcome import Card, Method, Outcome

METHODS: dict[str, Card] = {
    "mosaic": mosaic.CARD,
    "fedavg": fedavg.CARD,
    "heterofl": width.HETEROFL,
    "fedrolex": width.FEDROLEX,
    "fedgen": fedgen.CARD,
    "feddf": feddf.CARD,
    "fedftg": fedftg.CARD,
    "dfrd": dfrd.CARD,
}

__all__ = ["METHODS", "Card", "Method", "Outcome"]
