"""The journal of a run: a finished stage is a file, and a resumed run reads it instead of computing it again."""

import copy
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mosaic_fl.errors import UsageError
from mosaic_fl.storage import container
from mosaic_fl.storage.files import write_atomic
from mosaic_fl.storage.metrics_file import MetricsFile
from mosaic_fl.storage.stopwatch import Stopwatch
from mosaic_fl.training.monitor import Listener, Monitor, Recorder, deaf

KIND = "stage"
ROUND = "round-"  # prefix of the name of a round's stage, which continues from the one before it
STAGES = "stages"  # the folder of the stages' files
SECONDS = f"{STAGES}/seconds.json"  # the seconds that each stage has cost so far
HALF = ".half"  # suffix of an unfinished stage's file


def round_name(round: int) -> str:
    """The name of a round's stage."""
    return f"{ROUND}{round:04d}"


@dataclass(frozen=True)
class Stage:
    """The output of a finished stage: tensors, JSON values, its seconds and the figures that it logged."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    metrics: list[dict[str, float]] = field(default_factory=list)


Advance = Callable[[Stage, int, Monitor], tuple[dict[str, Tensor], dict[str, Any]]]
"""(the stage before it, number of the round or part, monitor) -> tensors and JSON values after it."""


class Journal:
    """Stages by name, in the order in which they finish. With a folder, one file a stage, and a `metrics.jsonl`.

    `clock` counts their seconds. With a folder it continues from the seconds that earlier processes spent there.
    """

    def __init__(self, folder: Path | None = None, listen: Listener = deaf, clock: Stopwatch | None = None) -> None:
        self.folder = folder
        self.clock = clock or Stopwatch()
        self.done: dict[str, Stage] = {}
        self._metrics = None if folder is None else MetricsFile(folder)
        if folder is not None:
            self.clock.recall(_read_seconds(folder / SECONDS))

        def tell(stage: str, client: int, done: int, total: int) -> None:
            self.clock.hear(stage, client, done, total)
            listen(stage, client, done, total)

        self.listen: Listener = tell

    def through(self, wrap: Callable[[Listener], Listener]) -> "Journal":
        """The same journal with `wrap(listen)` as its listener; an error that this raises ends the work."""
        other = copy.copy(self)
        other.listen = wrap(self.listen)
        return other

    def stage(self, name: str, compute: Callable[[Monitor], tuple[dict[str, Tensor], dict[str, Any]]]) -> Stage:
        """The stage of the (tensors, JSON values) that `compute(monitor)` returns; computed once, then recalled."""
        return self.parts(name, 1, lambda _before, _part, monitor: compute(monitor))

    def parts(self, name: str, count: int, compute: Advance) -> Stage:
        """A long stage in `count` parts, each of which continues from the one before it, the first from `Stage()`.

        The output of the last part is that of the stage. After a kill the stage continues from its last finished part.
        """
        stage = self.recall(name)
        if stage is None:
            with self.clock.stage(name):
                stage = self._compute_parts(name, count, compute)
                self.keep(name, stage)
        if self.folder is not None and count > 1:
            self._path(name, HALF).unlink(missing_ok=True)
        self.listen(name, -1, 1, 1)
        return stage

    def _compute_parts(self, name: str, count: int, compute: Advance) -> Stage:
        stage, first = self._half(name)
        for part in range(first, count):
            recorder = Recorder(name, listen=self.listen)
            start = time.perf_counter()
            tensors, info = compute(stage, part, recorder)
            seconds = stage.seconds + time.perf_counter() - start
            stage = Stage(tensors, info, seconds, stage.metrics + recorder.metrics)
            if part + 1 < count and self.folder is not None:
                manifest = {"info": info, "seconds": seconds, "metrics": stage.metrics, "done": part + 1}
                container.write(self._path(name, HALF), KIND, manifest, tensors)
                self._write_seconds()
        return stage

    def rounds(self, rounds: range, start: Stage, compute: Advance) -> Stage:
        """The stage of the last of `rounds`, each of which continues from the one before it; `start` without rounds.

        Only the latest round keeps its tensors, since hundreds of them would fill the disk. Raises UsageError where the
        file of a round is missing and the round before it has no tensors to continue from.
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
        """The finished stage of that name, or None; raises UsageError where its file is damaged."""
        if name not in self.done and self.folder is not None and self._path(name).exists():
            stage, _ = self._read(name)
            self._remember(name, stage)
        return self.done.get(name)

    def keep(self, name: str, stage: Stage) -> None:
        """Remember a finished stage, on disk where there is a folder."""
        self._write(name, stage)
        if self._metrics is not None:
            self._metrics.grow(self.done)
        self._write_seconds()

    def _write(self, name: str, stage: Stage) -> None:
        self._remember(name, stage)
        if self.folder is not None:
            manifest = {"info": stage.info, "seconds": stage.seconds, "metrics": stage.metrics}
            container.write(self._path(name), KIND, manifest, stage.tensors)

    def _remember(self, name: str, stage: Stage) -> None:
        before = self.done.get(name)
        if self._metrics is not None and before is None:
            self._metrics.add(name)
        elif self._metrics is not None and before is not None and before.metrics != stage.metrics:
            self._metrics.outdate()
        self.done[name] = stage

    def write_metrics(self) -> None:
        """Write `metrics.jsonl` anew, sorted and for good: what a run does at its end."""
        if self._metrics is not None:
            self._metrics.replace(self.done)

    def clear(self) -> None:
        """Delete the files of all stages once the run has its result. `metrics.jsonl` and contributions stay."""
        if self.folder is not None:
            shutil.rmtree(self.folder / STAGES, ignore_errors=True)

    def _write_seconds(self) -> None:
        if self.folder is not None:
            write_atomic(self.folder / SECONDS, json.dumps(self.clock.seconds()) + "\n", lasting=False)

    def _shed(self, name: str) -> None:
        """Delete the tensors of a finished stage that no later one needs; its figures stay."""
        stage = self.recall(name)
        if stage is not None and stage.tensors:
            self._write(name, replace(stage, tensors={}))

    def _half(self, name: str) -> tuple[Stage, int]:
        """The output of an unfinished stage's finished parts, and their number."""
        if self.folder is None or not self._path(name, HALF).exists():
            return Stage(), 0
        return self._read(name, HALF)

    def _read(self, name: str, suffix: str = "") -> tuple[Stage, int]:
        """The stage of a file, and for an unfinished one the number of its finished parts."""
        path = self._path(name, suffix)
        data = container.read_bytes(path)
        try:
            manifest, tensors = container.unpack(data, KIND, str(path), None)
        except UsageError as error:
            advice = self._all_rounds() if name.startswith(ROUND) else "it, and --resume does that stage again"
            raise UsageError(f"{path} is damaged: delete {advice}") from error
        match manifest:
            case {"info": dict(info), "seconds": float() | int() as seconds, "metrics": list(metrics)} if (
                all(isinstance(figures, dict) for figures in metrics) and type(manifest.get("done", 1)) is int
            ):
                return Stage(tensors, info, seconds, metrics), manifest.get("done", 1)
        raise UsageError(f"{path} is no stage of a run: delete it, and --resume does that stage again")

    def _all_rounds(self) -> str:
        """What to delete where a round's file is missing: all rounds, since the one before it has no tensors left."""
        return f"{self._path(ROUND).parent}/{ROUND}*, and --resume does them again"

    def _path(self, name: str, suffix: str = "") -> Path:
        assert self.folder is not None
        return self.folder / STAGES / f"{name}.safetensors{suffix}"


def _read_seconds(path: Path) -> dict[str, float]:
    """Seconds by stage; empty where the file is missing or damaged."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return {str(name): float(seconds) for name, seconds in json.loads(path.read_text("utf-8")).items()}
    return {}
