"""The cards of references, which serve models of the clients as they are: the best of them, or an ensemble."""

from mosaic_fl.config.client import BARE
from mosaic_fl.experts.capability import Capability
from mosaic_fl.methods import settings
from mosaic_fl.methods.card import ALL_MODELS, Card

BEST_LOCAL = Card(
    code="mosaic_fl.methods.references:best_local",
    title="Best local model",
    paper="–",
    summary="the client's model that is best on all clients' validation splits",
    requires=frozenset({Capability.WEIGHTS}),
    real_data=True,
    reference=True,
    defaults=BARE,
    settings=settings.check_validation,
    chooses=True,
)
MEAN_LOGITS = Card(
    code="mosaic_fl.methods.references:mean_logits",
    title="Mean logits",
    paper="–",
    summary="the clients' models, their logits averaged",
    reference=True,
    serves=ALL_MODELS,
    defaults=BARE,
    fields=True,
)
MEAN_PROBABILITIES = Card(
    code="mosaic_fl.methods.references:mean_probabilities",
    title="Mean probabilities",
    paper="–",
    summary="the clients' models, their probabilities averaged",
    reference=True,
    serves=ALL_MODELS,
    defaults=BARE,
    fields=True,
)
CLASS_WEIGHTED = Card(
    code="mosaic_fl.methods.references:class_weighted",
    title="Class-weighted",
    paper="–",
    summary="the clients' models, each weighted for each class by its share of that class's samples",
    reference=True,
    serves=ALL_MODELS,
    defaults=BARE,
    fields=True,
)
