"""FedProx (Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith 2020, arXiv 1812.06127, algorithm 2).

FedAvg whose client k minimises h_k(θ; θ_t) = F_k(θ) + μ/2 · ‖θ − θ_t‖² (equation 2), which holds it near the model θ_t
that the round began with. Left out is the paper's variable amount of local work (γ-inexact solutions): all clients do
the same number of passes or steps. With μ = 0 this is FedAvg.
"""

from collections.abc import Sequence

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.federation import Federation
from mosaic_fl.journal import Journal
from mosaic_fl.methods.fedavg import averaged_model
from mosaic_fl.methods.outcome import Card, Outcome


def fedprox(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """FedAvg's rounds with the proximal term of weight μ = `config.train.proximal` in the clients' loss."""
    return averaged_model(federation, config, journal, "fedprox", {"proximal": config.train.proximal})


def check_proximal(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raises UsageError where μ is 0, so that a figure of FedAvg is never shown as FedProx's."""
    if not config.train.proximal:
        raise UsageError("train.proximal is 0, and FedProx is then FedAvg: the paper has 0.01, or say --method fedavg")


CARD = Card(
    run=fedprox,
    title="FedProx",
    paper="Li et al. 2020, arXiv 1812.06127",
    summary="FedAvg, with each client held near the round's model by μ/2 · squared distance",
    equal_architectures=True,
    rounds=True,
    defaults={"train.proximal": 0.01},
    check=check_proximal,
)
