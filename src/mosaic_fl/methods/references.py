"""Lines to measure methods against: the best local model, and ensembles of all clients' models with fixed gates.

One-shot: every client trains once and sends its classifier. The ensembles serve all K models, so they do not solve the
problem of one global model. They are the teachers of distillation: mean logits is the teacher of DENSE (Zhang et al.
2022, arXiv 2112.12371), class-weighted that of FedFTG and Mosaic (p(c) ∝ Σ_k w[k, c] · p_k(c)).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.methods.averaging import validation_accuracy
from mosaic_fl.methods.outcome import Ensemble, Outcome
from mosaic_fl.methods.sending import by_client, sizes_of_others, upload_size
from mosaic_fl.server import experts
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor


def best_local(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """The client's model with the best accuracy on the validation splits of ALL clients; the first of equals.

    Every contributor receives the models of all others and scores them; a client that sent no model receives just the
    best. The test set has no part in the choice. A model without a score is never chosen. Raises MosaicError where no
    model has a score.
    """
    contributions = federation.contribute()

    def score(monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        confusions = [federation.evaluate(c.architecture, dict(c.expert)) for c in contributions]
        if not any(confusions):
            raise MosaicError("no client answered to score a model, so none is the best: ask again with --resume")
        scores = [validation_accuracy(matrices) for matrices in confusions]
        if not any(score is not None for score in scores):
            raise MosaicError("no client that answered holds validation samples: raise data.validation")
        return {}, {"clients": [c.client for c in contributions], "validation": scores}

    choice = journal.stage("choice", score).info
    scores = {k: score for k, score in zip(choice["clients"], choice["validation"], strict=True) if score is not None}
    best = next(c for c in contributions if c.client == max(scores, key=lambda client: scores[client]))
    up = _sizes(federation, contributions, counts=False)
    down = [total if size else up[best.client] for size, total in zip(up, sizes_of_others(up), strict=True)]
    return Outcome(GlobalModel(best.architecture, best.schema, dict(best.expert)), up, down)


def mean_logits(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """softmax(1/K · Σ_k z_k(x)), z_k the logits of client k's model."""
    return _ensemble(federation, lambda mixture: experts.mean_logits, counts=False)


def mean_probabilities(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """1/K · Σ_k softmax(z_k(x))."""
    return _ensemble(federation, lambda mixture: experts.mean_probabilities, counts=False)


def class_weighted(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """p(c) ∝ Σ_k w[k, c] · softmax(z_k(x))[c], with w[k, c] client k's share of the samples of class c."""
    return _ensemble(federation, lambda mixture: partial(experts.class_weighted, weights=mixture.weights), counts=True)


def _ensemble(
    federation: Federation, fuse: Callable[[MixtureOfExperts], Callable[[Tensor], Tensor]], *, counts: bool
) -> Outcome:
    contributions = federation.contribute()
    mixture = MixtureOfExperts.of(contributions)
    sizes = _sizes(federation, contributions, counts=counts)
    return Outcome(None, sizes, sizes_of_others(sizes), ensemble=Ensemble(mixture, fuse(mixture)))


def _sizes(federation: Federation, contributions: Sequence[Contribution], *, counts: bool) -> list[int]:
    """Bytes of each client's classifier, with its class counts or without; 0 for a client that sent none."""
    sizes = {c.client: upload_size(c, expert=True, counts=counts) for c in contributions}
    return by_client(sizes, len(federation.architectures))
