"""The table of models by sites, each on the samples that its site held back: the entry `cross_site` of a result."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site, split
from mosaic_fl.client.custody import Custody
from mosaic_fl.client.scoring import Judged, score
from mosaic_fl.config import Config
from mosaic_fl.exchange.score_names import GLOBAL, OWN
from mosaic_fl.exchange.site_scores import ModelScores, SiteScores, recalls_of
from mosaic_fl.experts.answers.book import AnswerBook
from mosaic_fl.experts.kind import Expert
from mosaic_fl.experts.no_model import NoModel
from mosaic_fl.methods.outcome import Outcome

KEY = "cross_site"
FEW = "it held fewer than {least} samples back"
NO_ANSWER = "it did not answer"


def table(scores: Mapping[int, SiteScores], why: Mapping[int, str], classes: Sequence[str]) -> dict[str, Any]:
    """The entry of a result: the `scores` of sites by number, and `why` others have none. Empty without scores.

    `classes` are the names of the classes that the scores number.
    """
    if not scores:
        return {}
    sites = [
        {"client": client, "samples": scores[client].samples, "least": scores[client].least, "why": None}
        | {"models": scores[client].to_json()["models"]}
        if client in scores
        else {"client": client, "samples": None, "least": None, "why": why[client], "models": []}
        for client in sorted({*scores, *why})
    ]
    return {KEY: {"classes": list(classes), "sites": sites}}


def simulated(outcome: Outcome, sites: Sequence[Site], config: Config, device: torch.device) -> dict[str, Any]:
    """The table of a simulation: the global model and each client's own on what the client held back.

    Empty for a method that serves an ensemble, and where nobody holds anything back.
    """
    model = outcome.model
    if model is None:
        return {}
    shared = Judged(GLOBAL, model.expert())
    own = _own_experts(outcome)
    least = Custody().least
    scores = dict[int, SiteScores]()
    why = dict[int, str]()
    for site in sites:
        validation = split(site, config)[1]
        if len(validation) < least:
            why[site.client] = FEW.format(least=least)
            continue
        judged = [shared, *([Judged(OWN, own[site.client])] if site.client in own else [])]
        scores[site.client] = score(site.client, validation, judged, least, device)
    return table(scores, why, sites[0].data.schema.classes)


def _own_experts(outcome: Outcome) -> dict[int, Expert]:
    """The clients' own models by number, of those that have left their sites and look at samples."""
    mixture = outcome.distilled.clients if outcome.distilled else outcome.ensemble.mixture if outcome.ensemble else None
    if mixture is None or not mixture.owners:
        return {}
    pairs = zip(mixture.owners, mixture.experts, strict=True)
    return {client: expert for client, expert in pairs if not isinstance(expert, NoModel | AnswerBook)}


def deployed(
    scores: Mapping[int, SiteScores], confusions: Mapping[int, Tensor], clients: int, classes: Sequence[str]
) -> dict[str, Any]:
    """The table of a deployed run: `scores` of the sites that tell them.

    Of others that answered there is the global model alone, by its `confusions` (C, C).
    """
    least = Custody().least
    known = {client: value for client, value in scores.items() if client in confusions}
    why = dict[int, str]()
    for client in range(clients):
        if client in known:
            continue
        confusion = confusions.get(client)
        if confusion is None:
            why[client] = NO_ANSWER
        elif int(confusion.sum()) < least:
            why[client] = FEW.format(least=least)
        else:
            known[client] = _of_confusion(client, confusion, least)
    return table(known, why, classes)


def _of_confusion(client: int, confusion: Tensor, least: int) -> SiteScores:
    counts = confusion.sum(1).tolist()
    right = confusion.diagonal().tolist()
    model = ModelScores(GLOBAL, "", sum(right) / sum(counts), recalls_of(counts, right, least))
    return SiteScores(client, len(counts), sum(counts), least, (model,))
