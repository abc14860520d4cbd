"""Federated bagging of boosted trees, as NVFlare's tree-based XGBoost in the mode "bagging".

(Roth et al. 2022, arXiv 2210.13291; examples/advanced/xgboost/tree-based in github.com/NVIDIA/NVFlare.)

In each round every client takes the global ensemble and grows one more tree a class on its own rows, by XGBoost. The
server adds all these trees, each with its client's share of the training samples as weight: the "scaled" shrinkage of
NVFlare, which serves where clients have different numbers of rows. Each tree sees another sample of the client's rows
and columns (`boosting.rows`, `boosting.columns`).
"""

from collections.abc import Sequence

import torch

from mosaic_fl import extras
from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.federation import Federation, GrowJob
from mosaic_fl.experts.boosted import BoostedTrees
from mosaic_fl.experts.ensemble import joined, of_state, scaled, to_state
from mosaic_fl.methods.boosting import SOURCE, Growth, boosted_rounds, check_boosting, size_of
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.storage.journal import Journal


def federated_bagging(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; see `boosted_rounds` for those that serve."""
    own = ("rate", "depth", "l2", "least_weight", "rows", "columns")
    settings = {name: getattr(config.boosting, name) for name in own}

    def grow(trees: BoostedTrees, cohort: Sequence[int], round: int) -> Growth:
        ensemble = to_state(trees)
        answers = federation.boost(GrowJob(ensemble, settings), cohort, round)
        total = sum(answer.samples for answer in answers)
        parts = [scaled(of_state(a.state, federation.schema, SOURCE), a.samples / total) for a in answers]
        up = {answer.client: size_of(answer.state) for answer in answers}
        return Growth(joined(parts), answers, up, dict.fromkeys(up, size_of(ensemble)))

    return boosted_rounds(federation, config, journal, grow)


def check_bagging(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError where samples are no rows, or XGBoost is not installed."""
    check_boosting(config, schema, models, student)
    extras.require("federated_bagging", "xgboost")
