"""TensorBoard: event files in the run's folder `tensorboard/`; `tensorboard --logdir runs` shows all runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosaic_fl.tracking.tracker import TrackerKind

FOLDER = "tensorboard"


class TensorboardTracker:
    """Writes one event file. TensorBoard takes no files: settings are a text, and files stay in the run's folder."""

    def __init__(self, folder: Path, parameters: Mapping[str, str]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer: Any = SummaryWriter(str(folder / FOLDER))
        rows = "\n".join(f"| {name} | {value} |" for name, value in parameters.items())
        self.writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}", 0)

    def figures(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name.replace(" ", "_"), value, step)
        self.writer.flush()

    def file(self, path: Path) -> None:
        """Nothing: the file lies beside the events."""

    def end(self, *, succeeded: bool) -> None:
        self.writer.close()


KIND = TrackerKind(
    "TensorBoard", ("tensorboard",), lambda name, folder, parameters: TensorboardTracker(folder, parameters)
)
