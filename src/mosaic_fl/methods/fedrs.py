"""FedRS (Li, Zhan 2021, "FedRS: Federated learning with restricted softmax for label distribution non-IID data", KDD).

FedAvg in which clients train with the restricted softmax: α multiplies the logits of the classes that a client lacks
(equation 5). So it changes the rows of these classes in the last layer less. α = 1 is FedAvg. With α = 0 the scores of
these classes do not matter: each counts as a logit of 0.
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
