"""Methods by name. Each is a function that reads like the algorithm box of its paper."""

from mosaic_fl.methods import (
    coboosting,
    dense,
    dfrd,
    fedavg,
    fedbn,
    fedcvae,
    feddf,
    fedftg,
    fedgen,
    fedprox,
    fedrs,
    fens,
    mosaic,
    references,
    width,
)
from mosaic_fl.methods.outcome import Card, Method, Outcome

METHODS: dict[str, Card] = {
    "mosaic": mosaic.CARD,
    "fedavg": fedavg.CARD,
    "fedprox": fedprox.CARD,
    "fedbn": fedbn.CARD,
    "fedrs": fedrs.CARD,
    "heterofl": width.HETEROFL,
    "fedrolex": width.FEDROLEX,
    "fedgen": fedgen.CARD,
    "feddf": feddf.CARD,
    "fedftg": fedftg.CARD,
    "dfrd": dfrd.CARD,
    "dense": dense.CARD,
    "coboosting": coboosting.CARD,
    "fedcvae": fedcvae.CARD,
    "fens": fens.CARD,
    "best_local": references.BEST_LOCAL,
    "mean_logits": references.MEAN_LOGITS,
    "mean_probabilities": references.MEAN_PROBABILITIES,
    "class_weighted": references.CLASS_WEIGHTED,
}
"""All that `config.run.method` may name, in the order of tables."""

__all__ = ["METHODS", "Card", "Method", "Outcome"]
