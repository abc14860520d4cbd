"""The memory of a run: a stage that is finished is kept on disk and never done again."""

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
from mosaic_fl.storage.stopwatch import Stopwatch
from mosaic_fl.training.monitor import Listener, Monitor, Recorder, deaf

KIND = "stage"
ROUND = "round-"  # begins the name of a stage that goes on from the one before it
STAGES = "stages"  # the folder of their files
SECONDS = f"{STAGES}/seconds.json"  # what they cost so far
HALF = ".half"  # ends the name of an unfinished stage's file


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


Advance = Callable[[Stage, int, Monitor], tuple[dict[str, Tensor], dict[str, Any]]]
"""(what was left before, number of the round or part, monitor) -> what is left after it: tensors and JSON values."""


class Journal:
    """Stages by name, in the order they finished; with a folder, one file a stage and a `metrics.jsonl` beside.

    `clock` counts their seconds; with a folder it goes on from what earlier processes spent there.
    """

    def __init__(self, folder: Path | None = None, listen: Listener = deaf, clock: Stopwatch | None = None) -> None:
        self.folder = folder
        self.clock = clock or Stopwatch()
        self.done: dict[str, Stage] = {}
        if folder is not None:
            self.clock.recall(_read_seconds(folder / SECONDS))

        def tell(stage: str, client: int, done: int, total: int) -> None:
            self.clock.hear(stage, client, done, total)
            listen(stage, client, done, total)

        self.listen: Listener = tell

    def through(self, wrap: Callable[[Listener], Listener]) -> "Journal":
        """The same journal with `wrap(listen)` for its listener, which may end the work that it hears of."""
        other = copy.copy(self)
        other.listen = wrap(self.listen)
        return other

    def stage(self, name: str, compute: Callable[[Monitor], tuple[dict[str, Tensor], dict[str, Any]]]) -> Stage:
        """What `compute(monitor)` returns as (tensors, JSON values), now or when it was first asked for."""
        return self.parts(name, 1, lambda _before, _part, monitor: compute(monitor))

    def parts(self, name: str, count: int, compute: Advance) -> Stage:
        """A long stage in `count` parts, which keeps what its last one returns; `Stage()` comes before the first.

        Each goes on from what the one before it left, and a stage that was killed from the last that it finished.
        """
        kept = self.recall(name)
        if kept is None:
            with self.clock.stage(name):
                kept = self._work(name, count, compute)
                self.keep(name, kept)
        if self.folder is not None and count > 1:
            self._path(name, HALF).unlink(missing_ok=True)
        self.listen(name, -1, 1, 1)
        return kept

    def _work(self, name: str, count: int, compute: Advance) -> Stage:
        kept, done = self._half(name)
        for part in range(done, count):
            recorder = Recorder(name, listen=self.listen)
            start = time.perf_counter()
            tensors, info = compute(kept, part, recorder)
            spent = kept.seconds + time.perf_counter() - start
            kept = Stage(tensors, info, spent, kept.metrics + recorder.metrics)
            if part + 1 < count and self.folder is not None:
                manifest = {"info": info, "seconds": spent, "metrics": kept.metrics, "done": part + 1}
                container.write(self._path(name, HALF), KIND, manifest, tensors)
                self._write_seconds()
        return kept

    def rounds(self, rounds: range, start: Stage, compute: Advance) -> Stage:
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
            self.done[name], _ = self._read(name)
        return self.done.get(name)

    def keep(self, name: str, stage: Stage) -> None:
        """Remember a finished stage."""
        self._write(name, stage)
        self.write_metrics(lasting=False)  # at the end once more
        self._write_seconds()

    def _write(self, name: str, stage: Stage) -> None:
        self.done[name] = stage
        if self.folder is not None:
            manifest = {"info": stage.info, "seconds": stage.seconds, "metrics": stage.metrics}
            container.write(self._path(name), KIND, manifest, stage.tensors)

    def write_metrics(self, *, lasting: bool = True) -> None:
        """Write the curves of all finished stages: at the end once more, since a kill may have come between."""
        if self.folder is not None:
            write_atomic(self.folder / "metrics.jsonl", self._metrics(), lasting=lasting)

    def clear(self) -> None:
        """Delete the files of all stages: the run has its result. Its figures, curves and contributions stay."""
        if self.folder is not None:
            shutil.rmtree(self.folder / STAGES, ignore_errors=True)

    def _write_seconds(self) -> None:
        if self.folder is not None:
            write_atomic(self.folder / SECONDS, json.dumps(self.clock.seconds()) + "\n", lasting=False)

    def _shed(self, name: str) -> None:
        """Forget the tensors of a finished stage that later ones have made useless; its figures stay."""
        stage = self.recall(name)
        if stage is not None and stage.tensors:
            self._write(name, replace(stage, tensors={}))

    def _half(self, name: str) -> tuple[Stage, int]:
        """What the finished parts of an unfinished stage left, and how many they are."""
        if self.folder is None or not self._path(name, HALF).exists():
            return Stage(), 0
        return self._read(name, HALF)

    def _read(self, name: str, suffix: str = "") -> tuple[Stage, int]:
        """The stage of a file, and how many of its parts are done where it is a half one."""
        path = self._path(name, suffix)
        data = container.read_bytes(path)
        try:
            manifest, tensors = container.unpack(data, KIND, str(path))
        except UsageError as error:
            way_out = self._all_rounds() if name.startswith(ROUND) else "it, and --resume does that stage again"
            raise UsageError(f"{path} is damaged: delete {way_out}") from error
        match manifest:
            case {"info": dict(info), "seconds": float() | int() as seconds, "metrics": list(metrics)} if (
                all(isinstance(figures, dict) for figures in metrics) and type(manifest.get("done", 1)) is int
            ):
                return Stage(tensors, info, seconds, metrics), manifest.get("done", 1)
        raise UsageError(f"{path} is no stage of a run: delete it, and --resume does that stage again")

    def _all_rounds(self) -> str:
        """The way out where a round's file is lost: none is done again alone, the one before has shed its tensors."""
        return f"{self._path(ROUND).parent}/{ROUND}*, and --resume does them again"

    def _path(self, name: str, suffix: str = "") -> Path:
        assert self.folder is not None
        return self.folder / STAGES / f"{name}.safetensors{suffix}"

    def _metrics(self) -> str:
        # Sorted, so that stages done now and stages read back give the same bytes.
        lines = (
            {"stage": name, **dict(sorted(figures.items()))}
            for name, stage in sorted(self.done.items())
            for figures in stage.metrics
        )
        return "".join(json.dumps(line) + "\n" for line in lines)


def _read_seconds(path: Path) -> dict[str, float]:
    """Seconds by stage; none where the file is not there, or damaged."""
    with suppress(OSError, ValueError, AttributeError, TypeError):
        return {str(name): float(spent) for name, spent in json.loads(path.read_text("utf-8")).items()}
    return {}
