"""The memory of a run: a stage that is finished is kept on disk and never done again."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mosaic_fl import container
from mosaic_fl.errors import UsageError
from mosaic_fl.files import write_atomic
from mosaic_fl.monitor import Listener, Monitor, Recorder, deaf

KIND = "stage"
ROUND = "round-"  # begins the name of a stage that goes on from the one before it


@dataclass(frozen=True)
class Stage:
    """What a finished stage leaves: tensors, JSON values, its seconds and the figures it logged."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    metrics: list[dict[str, float]] = field(default_factory=list)


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

    def shed(self, name: str) -> None:
        """Forget the tensors of a finished stage that later ones have made useless; its figures stay."""
        stage = self.recall(name)
        if stage is not None and stage.tensors:
            self.keep(name, replace(stage, tensors={}))

    def seconds(self) -> dict[str, float]:
        """How long each finished stage took, by name."""
        return {name: round(stage.seconds, 3) for name, stage in sorted(self.done.items())}

    def _read(self, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        path = self._path(name)
        data = container.read_bytes(path)
        try:
            return container.unpack(data, KIND, str(path))
        except UsageError as error:
            # A round goes on from the one before, which has shed its weights: none can be done again alone.
            alone = not name.startswith(ROUND)
            way_out = "it, and --resume does that stage" if alone else f"{path.parent}/{ROUND}*, and --resume does them"
            raise UsageError(f"{path} is damaged: delete {way_out} again") from error

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
