"""Weights & Biases: `wandb login` once; WANDB_PROJECT names the project, WANDB_MODE=offline sends nothing."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic_fl.tracking.tracker import PROJECT, TrackerKind

STEP = "step"


class WandbTracker:
    """One run of Weights & Biases. Curves have their own steps, since its global one may only rise."""

    def __init__(self, name: str, folder: Path, parameters: Mapping[str, str]) -> None:
        import wandb

        project = os.environ.get("WANDB_PROJECT") or PROJECT
        # A comparison's cells are runs beside its own, which goes on.
        settings = wandb.Settings(console="off", silent=True, reinit="create_new")
        self.run: Any = wandb.init(
            project=project, name=name, config=dict(parameters), dir=str(folder), settings=settings
        )
        self.run.define_metric("*", step_metric=STEP)

    def figures(self, values: Mapping[str, float], step: int) -> None:
        self.run.log({**values, STEP: step})

    def file(self, path: Path) -> None:
        self.run.save(str(path), base_path=str(path.parent), policy="now")

    def end(self, *, succeeded: bool) -> None:
        self.run.finish(exit_code=0 if succeeded else 1)


KIND = TrackerKind("Weights & Biases", ("wandb",), WandbTracker)
