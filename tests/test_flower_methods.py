"""Every method gives the same over Flower's messages as on the local engine."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("flwr", reason="the flower extra is not installed")

from flower_grid import InProcessGrid, Node, settled
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower.exchange import Exchange
from mosaic_fl.engines.flower.federation import FlowerFederation
from mosaic_fl.engines.flower.limits import Limits
from mosaic_fl.engines.flower.roll import Roll
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.storage.journal import Journal
from rounds import CPU, QUICK
from table_cases import patients, rows
from vector_cases import clouds

TINY = {**QUICK, "meta.steps": 3, "partition.clients": 3}


def as_received(data: Dataset) -> Dataset:
    """The same rows with the numbers of their schema as JSON gives them, 0.0 for 0, so that sizes compare."""
    return rows(data.samples.only, data.labels, Schema.from_json(data.schema.to_json()))


def predictions(outcome: Outcome, data: Dataset) -> torch.Tensor:
    return outcome.served.logits(data.samples[:50], CPU)


@pytest.mark.parametrize(("name", "memory"), [*((name, True) for name in METHODS), ("fens", False)])
def test_a_method_does_not_know_its_engine(name: str, memory: bool, digits: Dataset, tmp_path: Path) -> None:
    card = METHODS[name]
    data = as_received(patients(340)) if card.boosts else clouds(340) if card.vectors else digits
    more: dict[str, Any] = {"rounds.warm_up": 2, "rounds.steps": 3, "run.method": name}
    if name == "mosaic":
        more |= {"rounds.fine_tune": 1, "distill.choose": True, "generator.family": "cvae"}
    config = Config().with_values({**TINY, **card.defaults, **TINY, **more})
    spec = "mlp:4:1" if card.boosts or card.vectors else "cnn:4:1"
    sites = [Site(k, data.subset(range(100 * k, 100 * k + 80 + 20 * k)), spec) for k in range(3)]
    with LocalFederation(sites, config, CPU, Journal()) as local:
        expected = card.run(local, config, CPU, Journal())
    grid = InProcessGrid([Node(k, site, tmp_path / f"site-{k}" if memory else None) for k, site in enumerate(sites)])
    tell = settled([])
    roll = Roll(grid, "a run", 3, tell, grid.now)
    journal = Journal(tmp_path / "server")
    over_flower = FlowerFederation(Exchange(grid, roll, Limits(), tell, grid.now, grid.sleep), config, journal)
    over_flower.open()
    found = card.run(over_flower, config, CPU, journal)
    assert not over_flower.exchange.absences
    assert torch.equal(predictions(found, data), predictions(expected, data))
    assert (found.bytes_up, found.bytes_down) == (expected.bytes_up, expected.bytes_down)
