"""FedRS (Li, Zhan 2021, "FedRS: Federated learning with restricted softmax for label distribution non-IID data", KDD).

FedAvg whose clients train with the restricted softmax: the logits of the classes that a client does not hold are
multiplied by α (equation 5), so that it pushes their rows of the last layer away less. α = 1 is FedAvg, α = 0 takes
those classes' scores out of the softmax (each counts as a logit of 0).
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


def fedrs(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """FedAvg's rounds with α = `config.train.absent` on the logits of the classes that a client lacks."""
    return averaged_model(federation, config, journal, "fedrs", {"absent": config.train.absent})


def check_absent(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raises UsageError where α is 1, so that a figure of FedAvg is never shown as FedRS's."""
    if config.train.absent == 1:
        raise UsageError("train.absent is 1, and FedRS is then FedAvg: the paper has 0.5, or say --method fedavg")


CARD = Card(
    run=fedrs,
    title="FedRS",
    paper="Li, Zhan 2021, KDD, doi 10.1145/3447548.3467254",
    summary="FedAvg, with the logits of classes that a client lacks scaled down in its softmax",
    equal_architectures=True,
    rounds=True,
    defaults={"train.absent": 0.5},
    check=check_absent,
)
