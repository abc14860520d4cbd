"""FedRS (Li, Zhan 2021, "FedRS: Federated learning with restricted softmax for label distribution non-IID data", KDD).

FedAvg whose clients train with the restricted softmax: the logits of the classes that a client does not hold are
multiplied by α (equation 5), so that it pushes their rows of the last layer away less. α = 1 is FedAvg, α = 0 takes
those classes' scores out of the softmax (each counts as a logit of 0).
"""

import torch

from mosaic_fl.config import Config
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.methods.fedavg import averaged_model
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.storage.journal import Journal


def fedrs(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """FedAvg's rounds with α = `config.train.absent` on the logits of the classes that a client lacks."""
    return averaged_model(federation, config, journal, "fedrs", {"absent": config.train.absent})
