"""The trackers by name. A package adds one by an entry point in the group `mosaic_fl.trackers`."""

from mosaic_fl.registry import Registry
from mosaic_fl.tracking.tracker import TrackerKind

TRACKERS: Registry[TrackerKind] = Registry(
    "tracker",
    "mosaic_fl.trackers",
    {
        "mlflow": "mosaic_fl.tracking.with_mlflow:KIND",
        "tensorboard": "mosaic_fl.tracking.with_tensorboard:KIND",
        "wandb": "mosaic_fl.tracking.with_wandb:KIND",
    },
)
"""What `--track` takes."""
