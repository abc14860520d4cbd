"""MLflow: MLFLOW_TRACKING_URI says where its server or data base is, MLFLOW_EXPERIMENT_NAME the experiment."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic_fl.tracking.tracker import PROJECT, TrackerKind

BATCH = 100  # MLflow takes so many parameters at once
LONGEST = 500  # characters of a parameter's value: what every version takes


class MlflowTracker:
    """One run of MLflow, through its client, which keeps no state of this process."""

    def __init__(self, name: str, parameters: Mapping[str, str]) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client: Any = MlflowClient()
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        experiment = self.client.get_experiment_by_name(title)
        number = experiment.experiment_id if experiment else self.client.create_experiment(title)
        self.run: str = self.client.create_run(number, run_name=name).info.run_id
        params = [Param(key, value[:LONGEST]) for key, value in parameters.items()]
        for start in range(0, len(params), BATCH):
            self.client.log_batch(self.run, params=params[start : start + BATCH])

    def figures(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run, metrics=[Metric(name, value, now, step) for name, value in values.items()])

    def file(self, path: Path) -> None:
        self.client.log_artifact(self.run, str(path))

    def end(self, *, succeeded: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if succeeded else "FAILED")


KIND = TrackerKind("MLflow", ("mlflow",), lambda name, folder, parameters: MlflowTracker(name, parameters))
