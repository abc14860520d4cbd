"""What came of a run, and its file `result.json`: built here and read here, whoever the clients were."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.storage.files import read_if_there

if TYPE_CHECKING:  # a command asks whether a run has ended before it takes torch
    from mosaic_fl.methods.outcome import Outcome

FILE = "result.json"
Kind = Literal["simulation", "files", "deployment"]
KEYS: Mapping[Kind, tuple[str, ...]] = {
    "simulation": (
        "method", "title", "data", "clients", "split", "alpha", "seed", "models", "student", "models_served",
        "samples", "classes_held", "bytes_up", "bytes_down",
    ),
    "files": (
        "method", "clients", "contributors", "seed", "models", "student", "tested_on",
        "accuracy", "teacher_accuracy", "holdout", "bytes_up", "bytes_down",
    ),
    "deployment": (
        "method", "title", "data", "clients", "seed", "models", "student", "models_served", "samples",
        "bytes_up", "bytes_down", "left_out",
    ),
}  # fmt: skip
"""What `result.json` says first of each kind of run; its other figures and its seconds come after."""


@dataclass(frozen=True)
class Result:
    """What came of a run of `config`: its method's `outcome`, its `figures` by name, its `seconds` by stage.

    `models` are the architectures of its clients, or of their contributions where these came as files; `contributors`
    are the numbers of whose these were. `samples` and `classes_held` have a number a client. `tested_on` is the hash of
    the labelled data that a file gave, None where none did. `left_out` says who was left out of what, and why.
    """

    kind: Kind
    config: Config
    models: Sequence[str]
    outcome: "Outcome"
    figures: Mapping[str, Any]
    seconds: Mapping[str, float]
    data: str = ""
    contributors: Sequence[int] = field(default_factory=list)
    samples: Sequence[int] = field(default_factory=list)
    classes_held: Sequence[int] = field(default_factory=list)
    tested_on: str | None = None
    left_out: Sequence[Mapping[str, int | str]] = field(default_factory=list)

    @property
    def method(self) -> str:
        """The name of the method."""
        return self.config.run.method

    @property
    def title(self) -> str:
        """The method's name as its paper writes it."""
        return METHODS[self.method].title

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self.models)

    @property
    def split(self) -> str:
        """How the data was spread over the clients of a simulation."""
        return self.config.partition.split

    @property
    def alpha(self) -> float:
        """How alike a simulation's clients are."""
        return self.config.partition.alpha

    @property
    def seed(self) -> int:
        """Where all randomness came from."""
        return self.config.run.seed

    @property
    def student(self) -> str | None:
        """The architecture of the one global model; None where all clients' models serve."""
        return self.outcome.model.architecture if self.outcome.model else None

    @property
    def models_served(self) -> int:
        """How many networks each prediction takes."""
        return self.outcome.models_served

    @property
    def bytes_up(self) -> Sequence[int]:
        """Bytes that each client sent."""
        return self.outcome.bytes_up

    @property
    def bytes_down(self) -> Sequence[int]:
        """Bytes that each client was sent."""
        return self.outcome.bytes_down

    @property
    def accuracy(self) -> float | None:
        """The share of the test samples that what serves gets right; None where there were none."""
        value: float | None = self.figures["accuracy"]
        return value

    def to_json(self) -> dict[str, Any]:
        """The content of `result.json`."""
        first = {key: self.figures[key] if key in self.figures else getattr(self, key) for key in KEYS[self.kind]}
        return {**first, **self.figures, "seconds": dict(self.seconds)}


def read_result(folder: Path) -> dict[str, Any] | None:
    """The content of the run's `result.json`; None where there is none yet.

    Raises UsageError where it is damaged, or cannot be read.
    """
    path = folder / FILE
    content = read_if_there(path)
    if content is None:
        return None
    try:
        result = json.loads(content)
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict):
        raise UsageError(f"{path} is damaged: the same command with --resume writes it again")
    return result


def finished(folder: Path) -> dict[str, Any] | None:
    """The content of `result.json` of a run that has ended; None where it has not, or what it made is gone."""
    try:
        result = read_result(folder)
    except UsageError:  # it is made again
        return None
    if result is None or "seconds" not in result:
        return None
    served = result.get("student") is None or (folder / "global_model.safetensors").is_file()
    return result if served else None
