"""The input and the result of counting a method's work: a `Setup`, and the `Workload` that it amounts to."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.forecast.clients import Share, spec_of
from mosaic_fl.forecast.server import Contributor
from mosaic_fl.forecast.work import Phase

SERVER_GENERATORS = ("fedftg", "dfrd")
"""Methods whose server trains a generator in each round."""


@dataclass(frozen=True)
class Setup:
    """All facts that counting needs.

    `shares` are the clients' shares of the data, `schema` describes their images, `student` is the global model's
    architecture, `test` the number of test images.
    """

    shares: Sequence[Share]
    schema: Schema
    config: Config
    student: str
    device: torch.device
    test: int

    @property
    def method(self) -> str:
        """The name of the run's method."""
        return self.config.run.method

    @property
    def contributors(self) -> list[Contributor]:
        """The clients as the server sees them by their contributions."""
        specs = {s.client: spec_of(s, self.config, self.schema, self.device) for s in self.shares}
        return [
            Contributor(s.architecture, spec.family if (spec := specs[s.client]) else "", s.samples)
            for s in self.shares
        ]


@dataclass
class Workload:
    """The work of a method: phases in order, bytes up and down of all clients, bytes on disk and in pools in memory."""

    phases: list[Phase] = field(default_factory=list)
    up: float = 0
    down: float = 0
    disk: int = 0
    pools: int = 0
