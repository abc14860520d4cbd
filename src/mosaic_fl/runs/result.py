"""The result of a run and its file `result.json`. It is built and read here for every kind of run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.storage.files import read_if_there

if TYPE_CHECKING:  # without torch, so that a command looks for a result fast
    from mosaic_fl.methods.outcome import Outcome

FILE = "result.json"
NOTES = "notes.json"
GENERATED = Path("pictures") / "generated.json"
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
"""The first keys of `result.json` for each kind of run. Its other figures and its seconds follow."""


@dataclass(frozen=True)
class Result:
    """The result of a run of `config`: its method's `outcome`, its `figures` by name, its `seconds` by stage.

    `models` are the architectures of its clients, or of the contributions where these came as files. `contributors`
    are the numbers of the clients that sent those files. `samples` and `classes_held` have one number a client.
    `tested_on` is the hash of labelled data from a file, None without such data. `left_out` lists the clients that were
    left out of a step, with the reason.
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
        """The method's name in its paper."""
        return METHODS[self.method].title

    @property
    def clients(self) -> int:
        """The number of clients."""
        return len(self.models)

    @property
    def split(self) -> str:
        """The name of the partition of the data over a simulation's clients."""
        return self.config.partition.split

    @property
    def alpha(self) -> float:
        """The Dirichlet concentration of that partition: clients are more alike where it is larger."""
        return self.config.partition.alpha

    @property
    def seed(self) -> int:
        """The seed of all randomness."""
        return self.config.run.seed

    @property
    def student(self) -> str | None:
        """The architecture of the one global model; None where an ensemble of clients' models serves."""
        return self.outcome.model.architecture if self.outcome.model else None

    @property
    def models_served(self) -> int:
        """The number of networks that run for each prediction."""
        return self.outcome.models_served

    @property
    def bytes_up(self) -> Sequence[int]:
        """Bytes from each client to the server."""
        return self.outcome.bytes_up

    @property
    def bytes_down(self) -> Sequence[int]:
        """Bytes from the server to each client."""
        return self.outcome.bytes_down

    @property
    def accuracy(self) -> float | None:
        """The accuracy on the test samples of the model or ensemble that serves; None without test samples."""
        value: float | None = self.figures["accuracy"]
        return value

    def to_json(self) -> dict[str, Any]:
        """The content of `result.json`."""
        first = {key: self.figures[key] if key in self.figures else getattr(self, key) for key in KEYS[self.kind]}
        return {**first, **self.figures, "seconds": dict(self.seconds)}


def read_result(folder: Path) -> dict[str, Any] | None:
    """The content of the run's `result.json`; None where the run has not ended.

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


def read_notes(folder: Path) -> list[str]:
    """What the command noted in `notes.json`; empty where it noted nothing, or the run is of an earlier version."""
    try:
        notes = json.loads(read_if_there(folder / NOTES) or b"[]")
    except (ValueError, RecursionError):
        return []
    return [str(note) for note in notes] if isinstance(notes, list) else []


def final_result(folder: Path) -> dict[str, Any] | None:
    """The content of `result.json` of a run that has ended; None where it has not, or its global model is missing."""
    try:
        result = read_result(folder)
    except UsageError:  # a new run writes it again
        return None
    if result is None or "seconds" not in result:
        return None
    complete = result.get("student") is None or (folder / "global_model.safetensors").is_file()
    return result if complete else None
