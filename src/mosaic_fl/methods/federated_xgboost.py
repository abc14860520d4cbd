"""Federated XGBoost on rows divided among clients, as NVFlare's `histogram_based` mode.

(Roth et al. 2022, arXiv 2210.13291; XGBoost: Chen, Guestrin 2016, KDD, arXiv 1603.02754, with its method `hist`.)

All clients cut the values of a row alike, by the schema's knots. For each level of a tree a client sends the sums of
its rows' first and second derivatives in each open node and bin. The server adds them up and splits the nodes, so the
trees are those of training on all clients' rows together. The sums are exact: they are of whole numbers.

XGBoost's own federated communicator would need a second network beside the engines, whose ends hold open connections
throughout; a client could not be absent for a while. So the sums and the splits are computed here.

Our clients store nothing, so each request has the ensemble, which counts as traffic. A client that misses a level is
out until the next round.
"""

from collections import Counter
from collections.abc import Sequence

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.federation import UNITS, Federation, Fitted, SumJob
from mosaic_fl.experts.bins import bins_of
from mosaic_fl.experts.boosted import BoostedTrees
from mosaic_fl.experts.ensemble import to_state
from mosaic_fl.methods.boosting import Growth, boosted_rounds, check_boosting, size_of
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.server.histograms import GrowingTrees
from mosaic_fl.storage.journal import Journal


def federated_xgboost(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; see `boosted_rounds` for those that serve."""
    settings = config.boosting
    schema = federation.schema
    bins = bins_of(schema, settings.bins)

    def grow(trees: BoostedTrees, cohort: Sequence[int], round: int) -> Growth:
        ensemble = to_state(trees)
        growing = GrowingTrees(schema.num_classes, bins, settings)
        here = cohort
        first = list[Fitted]()
        up, down = Counter[int](), Counter[int]()
        for _ in range(settings.depth):
            nodes = growing.nodes
            if not len(nodes):
                break
            job = SumJob(ensemble, to_state(growing.trees), nodes, settings.bins)
            answers = federation.boost(job, here, round)
            here = [answer.client for answer in answers]
            sums = torch.stack([answer.state["sums"] for answer in answers]).sum(0)
            growing.split(sums.double() / UNITS)
            first = first or answers
            up.update({answer.client: size_of(answer.state) for answer in answers})
            request = size_of(ensemble) + size_of(job.growing) + nodes.nbytes
            down.update(dict.fromkeys(here, request))
        return Growth(growing.trees, first, up, down)

    return boosted_rounds(federation, config, journal, grow)


def check_histograms(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError where samples are no rows of a table."""
    check_boosting(config, schema, models, student)
    bins_of(schema, config.boosting.bins)
