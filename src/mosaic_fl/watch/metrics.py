"""A run's status as Prometheus metrics, served over HTTP for `--metrics-port`."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from mosaic_fl.errors import UsageError
from mosaic_fl.extras import require
from mosaic_fl.watch.status import CLIENT_STATES, RUN_STATES
from mosaic_fl.watch.watch import Watch

HOST = "127.0.0.1"  # only processes on this machine may ask

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client import Metric


class MetricsServer:
    """Answers on `port` until it is closed; a context manager."""

    def __init__(self, server: "WSGIServer", thread: threading.Thread) -> None:
        self._server = server
        self._thread = thread
        self.port: int = server.server_port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def require_metrics() -> None:
    """Raise UsageError where prometheus-client is not installed."""
    require("--metrics-port", "prometheus_client")


def serve_metrics(watch: Watch, port: int) -> MetricsServer:
    """Serve the status of `watch` at http://127.0.0.1:`port`/metrics from a thread. Port 0 stands for any free port.

    Raises UsageError where prometheus-client is not installed, or the port cannot be opened.
    """
    require_metrics()
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()  # not the global one, which has metrics of this process
    registry.register(_Collector(watch))
    try:
        server, thread = prometheus_client.start_http_server(port, HOST, registry)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot serve metrics at {HOST}:{port}: {why}; choose another port, or 0 for any") from error
    return MetricsServer(server, thread)


class _Collector:
    """Gives the metrics of the present status at each request."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

        status = self.watch.status
        now = self.watch.clock()
        clients = Counter(client.state for client in status.clients.values())
        by_state: Any = GaugeMetricFamily("mosaic_clients", "Clients by what they are doing", labels=["state"])
        for client_state in CLIENT_STATES:
            by_state.add_metric([client_state.replace(" ", "_")], clients[client_state])
        yield by_state
        run: Any = GaugeMetricFamily("mosaic_run_state", "1 for the state that the run is in", labels=["state"])
        for run_state in RUN_STATES:
            run.add_metric([run_state], float(status.state == run_state))
        yield run
        yield CounterMetricFamily("mosaic_received_bytes", "Bytes received from clients", value=status.bytes)
        yield CounterMetricFamily("mosaic_left_out", "Times a stage went on without a client", status.times_left_out)
        stage = {"stage": status.stage}
        yield InfoMetricFamily("mosaic_stage", "The stage at work; empty between two of them", value=stage)
        seconds = now - status.since if status.since else 0.0
        yield GaugeMetricFamily("mosaic_stage_seconds", "Since the stage, or the state, began", max(seconds, 0.0))
