"""The watch over a run on a network: events in its folder, log lines on stderr, a status and metrics.

An `event` is one thing that happened, `status` where the run stands, `rules` how an event changes it, and `watch` the
object that records both.
"""

from mosaic_fl.watch.event import Event, Kind
from mosaic_fl.watch.metrics import MetricsServer, require_metrics, serve_metrics
from mosaic_fl.watch.rules import apply
from mosaic_fl.watch.status import Client, LeftOut, Status
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
