"""The memory of a run: a stage that is finished is kept on disk and never done again."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mosaic_fl import container
from mosaic_fl.errors import UsageError
from mosaic_fl.files import write_atomic
from mosaic_fl.monitor import Listener, Monitor, Recorder, deaf

KIND = "stage"
ROUND = "round-"  # begins the name of a stage that goes on from the one before it


def round_name(round: int) -> str:
    """The name of a round's stage."""
    return f"{ROUND}{round:04d}"


@dataclass(frozen=True)
class Stage:
    """What a finished stage leaves: tensors, JSON values, its seconds and the figures it logged."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    metrics: list[dict[str, float]] = field(default_factory=list)


Round = Callable[[Stage, int, Monitor], tuple[dict[str, Tensor], dict[str, Any]]]
"""(the stage before, round, monitor) -> what the round's stage keeps: tensors and JSON values."""


class Journal:
    """Stages by name, in the order they finished; with a folder, one file a stage and a `metrics.jsonl` beside."""

    def __init__(self, folder: Path | None = None, listen: Listener = deaf) -> None:
        self.folder, self.listen = folder, listen
        self.done: dict[str, Stage] = {}

    def stage(self, name: str, compute: Callable[[Monitor], tuple[dict[str, Tensor], dict[str, Any]]]) -> Stage:
        """What `compute(monitor)` returns as (tensors, JSON values), now or when it was first asked for."""
        kept = self.recall(name)
        if kept is None:
            recorder, start = Recorder(name, listen=self.listen), time.perf_counter()
            tensors, info = compute(recorder)
            kept = Stage(tensors, info, time.perf_counter() - start, recorder.metrics)
            self.keep(name, kept)
        self.listen(name, -1, 1, 1)
        return kept

    def rounds(self, rounds: range, start: Stage, compute: Round) -> Stage:
        """The stage of the last of `rounds`, each of which goes on from the one before it; `start` where there is none.

        Only the latest keeps its tensors: a resumed run reads them there, and hundreds would fill the disk. Raises
        UsageError where one is gone whose predecessor has none to go on from.
        """
        latest = start
        for round in rounds:
            name = round_name(round)
            if round > rounds.start and not latest.tensors and self.recall(name) is None:
                raise UsageError(f"{self._path(name)} is missing: delete {self._all_rounds()}")
            latest = self.stage(name, partial(compute, latest, round))
            if round > rounds.start:
                self._shed(round_name(round - 1))
        return latest

    def recall(self, name: str) -> Stage | None:
        """The finished stage of that name, or None; raises UsageError with the way out where its file is damaged."""
        if name not in self.done and self.folder is not None and self._path(name).exists():
            manifest, tensors = self._read(name)
            self.done[name] = Stage(tensors, manifest["info"], manifest["seconds"], manifest["metrics"])
        return self.done.get(name)

    def keep(self, name: str, stage: Stage) -> None:
        """Remember a finished stage."""
        self.done[name] = stage
        if self.folder is not None:
            manifest = {"info": stage.info, "seconds": stage.seconds, "metrics": stage.metrics}
            container.write(self._path(name), KIND, manifest, stage.tensors)
            write_atomic(self.folder / "metrics.jsonl", self._metrics())

    def seconds(self) -> dict[str, float]:
        """How long each finished stage took, by name."""
        return {name: round(stage.seconds, 3) for name, stage in sorted(self.done.items())}

    def _shed(self, name: str) -> None:
        """Forget the tensors of a finished stage that later ones have made useless; its figures stay."""
        stage = self.recall(name)
        if stage is not None and stage.tensors:
            self.keep(name, replace(stage, tensors={}))

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        path = self._path(name)
        data = container.read_bytes(path)
        try:
            return container.unpack(data, KIND, str(path))
        except UsageError as error:
            way_out = self._all_rounds() if name.startswith(ROUND) else "it, and --resume does that stage again"
            raise UsageError(f"{path} is damaged: delete {way_out}") from error

    def _all_rounds(self) -> str:
        """The way out where a round's file is lost: none is done again alone, the one before has shed its tensors."""
        return f"{self._path(ROUND).parent}/{ROUND}*, and --resume does them again"

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / "stages" / f"{name}.safetensors"

    def _metrics(self) -> str:
        # Sorted, so that stages done now and stages read back give the same bytes.
        lines = (
            {"stage": name, **dict(sorted(figures.items()))}
            for name, stage in sorted(self.done.items())
            for figures in stage.metrics
        )
        return "".join(json.dumps(line) + "\n" for line in lines)
