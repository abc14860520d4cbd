"""What one-shot methods share whose server needs the clients' models alone: DENSE and Co-Boosting."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.contribution import Contribution
from mosaic_fl.federation import Federation
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import of_each
from mosaic_fl.monitor import Monitor
from mosaic_fl.server.distill import compatible

Distil = Callable[
    [Sequence[Contribution], Config, torch.device, Monitor], tuple[str, dict[str, Tensor], dict[str, Any]]
]
"""The server's work: the global model's architecture and weights, and JSON values that say how it went."""


def one_shot(
    name: str, distil: Distil, federation: Federation, config: Config, device: torch.device, journal: Journal
) -> Outcome:
    """One model up from each client that answers, `distil` in the stage `name`, one global model down to all.

    What a client may have sent beside its model is neither used nor counted.
    """
    contributions = [c.without_generator() for c in compatible(federation.contribute())]

    def compute(monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        architecture, state, info = distil(contributions, config, device, monitor)
        return state, {**info, "architecture": architecture}

    learned = journal.stage(name, compute)
    model = GlobalModel(learned.info["architecture"], federation.schema, learned.tensors)
    down = len(model.to_bytes())
    clients = len(federation.architectures)
    return Outcome(model, of_each({c.client: len(c.to_bytes()) for c in contributions}, clients), [down] * clients)
