"""Simulation on Flower: the clients are virtual nodes on Ray, on one machine or a cluster.

Each of Ray's processes makes the data of its clients itself, from the same configuration and seed.
"""

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config, validate
from mosaic_fl.data.sources import load
from mosaic_fl.engines.flower.extra import QUIET, require_simulation
from mosaic_fl.engines.flower.limits import DAY, Limits
from mosaic_fl.engines.local import worker_count
from mosaic_fl.engines.sites import spread
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.federation import Engine
from mosaic_fl.models import trust
from mosaic_fl.registries import name_generator
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Listener

Done = TypeVar("Done")

PATIENT = Limits(join=600.0, contribute=30 * DAY, fit=30 * DAY, evaluate=30 * DAY)
"""Nobody is late in a simulation: its clients wait for each other's turn on the machine."""


def simulate(config: Config, journal: Journal, work: Callable[[Engine, Journal], Done]) -> Done:
    """What `work` returns, done with the clients of `config` on Flower's simulation; raises what it raises.

    `work` is given `journal` as well, in a form that ends it after Ctrl-C. Raises MosaicError where a client fails: a
    simulation has nobody to spare.
    """
    require_simulation()
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from mosaic_fl.engines.flower.exchange import Exchange
    from mosaic_fl.engines.flower.federation import FlowerFederation
    from mosaic_fl.engines.flower.roll import Roll

    clients = config.partition.clients
    outcome = list[Done]()
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
            federation = FlowerFederation(Exchange(grid, roll, PATIENT, tell, sleep=sleep), config, stopping)
            federation.open()
            outcome.append(work(federation, stopping))
            federation.close()
        except BaseException as fault:  # Flower would end the process with it
            faults.append(fault)

    workers = worker_count(config.run.workers, clients, torch.device("cpu"))
    with _loopback():
        try:
            run_simulation(
                app, virtual_client(config.model_dump(mode="json")), clients, backend_config=_backend(workers)
            )
        except SystemExit as error:
            faults.append(MosaicError(f"Flower's simulation ended with {error}"))
        finally:  # Ctrl-C reaches this thread alone; the method's own would work on
            stop.set()
    if faults:
        raise faults[0]
    return outcome[0]


def tell(kind: str, client: int = -1, **facts: Any) -> None:
    """Hears what an exchange tells; a client that fails ends the run."""
    if kind in ("left_out", "refused"):
        who = f"client {client}" if client >= 0 else "a client"
        raise MosaicError(f"{who}, {facts.get('stage', 'join')}: {facts['reason']}")


def stoppable(listen: Listener, stop: threading.Event) -> Listener:
    """A listener that ends the work that it hears of, once `stop` is set."""

    def heard(stage: str, client: int, done: int, total: int) -> None:
        if stop.is_set():
            raise MosaicError("interrupted")
        listen(stage, client, done, total)

    return heard


def virtual_client(tree: dict[str, Any]) -> Any:
    """Flower's app of the virtual clients of the configuration `tree`; it travels to Ray's processes."""
    from mosaic_fl.engines.flower.app import make_app

    return make_app(VirtualDesk(tree))


class VirtualDesk:
    """The desk of whichever virtual client a message is for."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = tree

    def __call__(self, node_config: Any) -> Any:
        from mosaic_fl.engines.flower.client import Desk
        from mosaic_fl.numerics.devices import find_device

        config = validate(self.tree)
        client = int(node_config["partition-id"])
        logging.getLogger("mosaic_fl.client").setLevel(logging.WARNING)
        device = find_device(config.run.device)
        return Desk(client, lambda: _sites(config.model_dump_json())[client], device)


@lru_cache(maxsize=1)
def _sites(text: str) -> tuple[Site, ...]:
    """All clients of a configuration, made once in each of Ray's processes."""
    config = Config.model_validate_json(text)
    for spec in (*config.models.clients, config.models.student):
        trust(spec)
    name_generator(config.generator.family)
    return spread(config, load(config.data, config.run.seed), config.models.clients)


def _backend(workers: int) -> dict[str, Any]:
    """Ray with so many cores, one a client, in threads of one."""
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
    """Ray binds and asks loopback alone, and Flower is quiet, within the block.

    Where the environment names a cluster (RAY_ADDRESS), it is left to that. See ENGINE notes in docs/notes/flower.md.
    """
    logging.getLogger("flwr").setLevel(logging.CRITICAL)  # what fails is said by us, in one line
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
