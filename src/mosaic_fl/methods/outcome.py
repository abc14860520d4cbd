"""What a method returns."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mosaic_fl.config import Config
from mosaic_fl.federation import Federation
from mosaic_fl.global_model import GlobalModel
from mosaic_fl.journal import Journal
from mosaic_fl.server.distill import Distilled


@dataclass(frozen=True)
class Outcome:
    """The one global model, bytes sent up by and down to each client, and how it was distilled, if it was."""

    model: GlobalModel
    bytes_up: list[int]
    bytes_down: list[int]
    distilled: Distilled | None = None


Method = Callable[[Federation, Config, torch.device, Journal], Outcome]
