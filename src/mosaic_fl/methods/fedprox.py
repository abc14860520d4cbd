"""FedProx (Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith 2020, arXiv 1812.06127, algorithm 2).

FedAvg in which client k minimises h_k(θ; θ_t) = F_k(θ) + μ/2 · ‖θ − θ_t‖² (equation 2). The second term keeps it near
θ_t, the model at the beginning of the round. The paper's variable amount of local work (γ-inexact solutions) is left
out: all clients do the same number of passes or steps. With μ = 0 this is FedAvg.
"""

import torch

from mosaic_fl.config import Config
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.methods.fedavg import averaged_model
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.storage.journal import Journal


def fedprox(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """FedAvg's rounds with the proximal term of weight μ = `config.train.proximal` in the clients' loss."""
    return averaged_model(federation, config, journal, "fedprox", {"proximal": config.train.proximal})
