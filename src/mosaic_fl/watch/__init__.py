"""What happens in a run over a network: kept in its folder, told on stderr, shown as a status and as metrics."""

from mosaic_fl.watch.event import Event, Kind
from mosaic_fl.watch.metrics import MetricsServer, require_metrics, serve_metrics
from mosaic_fl.watch.status import Client, LeftOut, Status, apply
from mosaic_fl.watch.watch import Watch

__all__ = [
    "Client",
    "Event",
    "Kind",
    "LeftOut",
    "MetricsServer",
    "Status",
    "Watch",
    "apply",
    "require_metrics",
    "serve_metrics",
]
