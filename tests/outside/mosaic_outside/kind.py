"""A kind of sample from outside: readings of a few sensors, float32 at rest."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.kind import Kind
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.randomness import Stream


@dataclass(frozen=True)
class Readings:
    """`sensors` numbers, about standard normal."""

    name: ClassVar[str] = "readings"
    drawn_well: ClassVar[bool] = True
    sensors: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.sensors,)

    def check(self, values: Tensor) -> None:
        if values.dtype != torch.float32 or tuple(values.shape[1:]) != self.shape:
            raise UsageError(f"readings are {values.dtype} {tuple(values.shape)}, not float32 (n, {self.sensors})")

    def zeros(self, n: int) -> Tensor:
        return torch.zeros(n, self.sensors)

    def to_network(self, values: Tensor) -> Tensor:
        return values

    def to_rest(self, values: Tensor) -> Tensor:
        return values.to(torch.float32)

    def augmentation(self, setting: str) -> str:
        return "none"

    def varied(self, values: Tensor, how: str, rng: torch.Generator) -> Tensor:
        return values

    def prior_source(self, setting: str) -> str:
        return "none"

    def check_prior(self, source: str) -> None:
        if source != "none":
            raise UsageError(f"there are no public readings called {source!r}")

    def prior(self, source: str, n: int, stream: Stream) -> Tensor:
        return torch.randn(n, self.sensors, generator=stream.torch())

    def mixed(self, prior: Tensor, samples: Tensor, config: DistillConfig, seed: int) -> Tensor:
        return prior

    def default_models(self) -> tuple[str, ...]:
        return ("mlp:16", "mlp:8")

    def default_student(self) -> str:
        return "mlp:32"

    @property
    def summary(self) -> str:
        return f"{self.sensors} readings"

    def difference(self, other: Kind) -> str:
        return f"{self.sensors} readings, not {other.shape[0] if other.name == self.name else other.name}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.name, "sensors": self.sensors}

    @classmethod
    def from_json(cls, value: object) -> "Readings":
        match value:
            case {"kind": "readings", "sensors": int(sensors)} if 1 <= sensors <= 1000:
                return cls(sensors)
        raise UsageError("readings need a number of sensors in 1..1000")
