"""Simulation on Flower: the clients are virtual nodes on Ray, on one machine or a cluster.

Each of Ray's processes loads and divides the data itself, from the same configuration and seed.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config, validate
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.encoders.reading import load
from mosaic_fl.engines.answer_store import ASKING
from mosaic_fl.engines.flower.extra import QUIET, require_simulation
from mosaic_fl.engines.flower.federation import FlowerFederation
from mosaic_fl.engines.flower.limits import DAY, Limits
from mosaic_fl.engines.local import worker_count
from mosaic_fl.engines.sites import spread, tally
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.federation import Engine
from mosaic_fl.models import trust
from mosaic_fl.models.own import admissions
from mosaic_fl.notes import note
from mosaic_fl.registries import name_generator
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Listener

Result = TypeVar("Result")

PATIENT = Limits(join=600.0, contribute=30 * DAY, answer=30 * DAY, fit=30 * DAY, evaluate=30 * DAY)
"""No client is late in a simulation, since its clients share the machine in turns."""


def simulate(config: Config, journal: Journal, work: Callable[[Engine, Journal], Result]) -> Result:
    """The result of `work` with the clients of `config` on Flower's simulation; raises the errors of `work`.

    `work` receives a form of `journal` that ends the work after Ctrl-C. Raises MosaicError where any client fails.
    """
    require_simulation()
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from mosaic_fl.engines.flower.exchange import Exchange
    from mosaic_fl.engines.flower.roll import Roll

    clients = config.partition.clients
    outcome = list[Result]()
    faults = list[BaseException]()
    stop = threading.Event()
    app = ServerApp()
    stopping = journal.through(lambda listen: stoppable(listen, stop))

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise MosaicError("interrupted")

    @app.main()  # type: ignore[untyped-decorator,unused-ignore]
    def main(grid: Grid, context: Context) -> None:
        try:
            roll = Roll(grid, "simulation", clients, tell, time.monotonic)
            federation = VirtualFederation(Exchange(grid, roll, PATIENT, tell, sleep=sleep), config, stopping)
            federation.open()
            outcome.append(work(federation, stopping))
            federation.close()
        except BaseException as fault:  # else Flower would end the process
            faults.append(fault)

    workers = worker_count(config.run.workers, clients, torch.device("cpu"))
    with _loopback():
        try:
            run_simulation(
                app, virtual_client(config.model_dump(mode="json")), clients, backend_config=_backend(workers)
            )
        except SystemExit as error:
            faults.append(MosaicError(f"Flower's simulation ended with {error}"))
        finally:  # Ctrl-C reaches only this thread; the method's thread must end, too
            stop.set()
    if faults:
        raise faults[0]
    return outcome[0]


class VirtualFederation(FlowerFederation):
    """The engine of a simulation, whose process may see the data of its virtual clients."""

    def tally(self, count: Callable[[Dataset], Mapping[str, int]]) -> Mapping[str, int]:
        """The sums of what `count` finds on each client's validation split."""
        return tally(count, _sites(self.config.model_dump_json()), self.config)


def tell(kind: str, client: int = -1, **facts: Any) -> None:
    """The `tell` of the simulation's exchange: raises MosaicError where a client fails.

    A note says it of a black box that gives no answers: the run goes on without it, as in the `local` engine.
    """
    if str(facts.get("stage", "")).startswith(ASKING):
        if kind == "left_out":
            note(f"client {client}, a black box, gave no answers: {facts['reason']}")
        return
    if kind in ("left_out", "refused"):
        name = f"client {client}" if client >= 0 else "a client"
        raise MosaicError(f"{name}, {facts.get('stage', 'join')}: {facts['reason']}")


def stoppable(listen: Listener, stop: threading.Event) -> Listener:
    """`listen`, but once `stop` is set it raises MosaicError, which ends the work that reports."""

    def forward(stage: str, client: int, done: int, total: int) -> None:
        if stop.is_set():
            raise MosaicError("interrupted")
        listen(stage, client, done, total)

    return forward


def virtual_client(tree: dict[str, Any]) -> Any:
    """Flower's app for the virtual clients of the configuration `tree`; it can be pickled for Ray's processes."""
    from mosaic_fl.engines.flower.app import make_app

    return make_app(VirtualDesk(tree))


class VirtualDesk:
    """Gives the desk of the virtual client of a node; it brings the user's own models, which are no factories."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree
        self.models = admissions().models

    def __call__(self, node_config: Any) -> Any:
        from mosaic_fl.engines.flower.client import Desk
        from mosaic_fl.numerics.devices import find_device

        admissions().models.update(self.models)
        config = validate(self.tree)
        client = int(node_config["partition-id"])
        logging.getLogger("mosaic_fl.client").setLevel(logging.WARNING)
        device = find_device(config.run.device)
        return Desk(client, lambda: _sites(config.model_dump_json())[client], device, privacy=config.privacy)


@lru_cache(maxsize=1)
def _sites(text: str) -> tuple[Site, ...]:
    """All clients of a configuration, once in each of Ray's processes."""
    config = Config.model_validate_json(text)
    for spec in (*config.models.clients, config.models.student):
        trust(spec)
    name_generator(config.generator.family)
    return spread(config, load(config), config.models.clients)


def _backend(workers: int) -> dict[str, Any]:
    """Ray's settings for `workers` clients at a time, on one core each."""
    return {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {
            "num_cpus": workers,
            "include_dashboard": False,
            "logging_level": "ERROR",
            "log_to_driver": False,
        },
    }


@contextmanager
def _loopback() -> Iterator[None]:
    """Within the block Ray uses only the loopback address, and Flower logs nothing.

    A cluster from the environment (RAY_ADDRESS) stays in use. See docs/notes/flower.md.
    """
    logging.getLogger("flwr").setLevel(logging.CRITICAL)  # a failure is one line of this package's
    changes = dict(QUIET) | {"PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as home:
        if "RAY_ADDRESS" not in os.environ:
            Path(home, "ray_bootstrap_config.yaml").write_text("{}\n")
            changes |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "HOME": home, "RAY_USAGE_STATS_ENABLED": "0"}
        changes["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
