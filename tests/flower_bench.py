"""Three clients on a grid in one process, and the server's side of them."""

from pathlib import Path
from typing import Any

import torch

from flower_grid import InProcessGrid, Node, settled
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.flower.exchange import Exchange
from mosaic_fl.engines.flower.federation import FlowerFederation
from mosaic_fl.engines.flower.limits import Limits
from mosaic_fl.engines.flower.roll import Roll
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.models import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
QUICK = {
    "train.max_steps": 12, "train.min_steps": 5, "train.check_every": 5,
    "generator.steps": 4, "generator.latent": 4, "generator.width": 4, "generator.family": "cvae", "run.workers": 1,
}  # fmt: skip
LIMITS = Limits(join=30, contribute=600, fit=300, evaluate=60, gone=90)


def three_sites(digits: Dataset) -> list[Site]:
    """Three clients of two architectures with 60, 61 and 62 digits."""
    names = ("mlp:8", "cnn:4", "mlp:8")
    return [Site(k, digits.subset(range(100 * k, 100 * k + 60 + k)), names[k]) for k in range(3)]


def start(sites: list[Site]) -> dict[str, torch.Tensor]:
    """Fresh weights of mlp:8."""
    with Stream(0, "init").ambient():
        return copy_state(build("mlp:8", sites[0].data.schema))


class Bench:
    """Three clients on a grid, and the server's side of them."""

    def __init__(self, sites: list[Site], folder: Path | None = None, limits: Limits = LIMITS) -> None:
        self.nodes = [Node(s.client, s, folder and folder / f"site-{s.client}") for s in sites]
        self.grid, self.folder, self.limits = InProcessGrid(self.nodes), folder, limits
        self.told: list[Any] = []
        self.signers: Signers | None = None

    def open(self) -> FlowerFederation:
        tell = settled(self.told)
        roll = Roll(self.grid, "a run", len(self.nodes), tell, self.grid.now, signers=self.signers)
        exchange = Exchange(self.grid, roll, self.limits, tell, self.grid.now, self.grid.sleep, max_answer=2**20)
        journal = Journal(self.folder and self.folder / "server")
        federation = FlowerFederation(exchange, Config().with_values(QUICK), journal)
        federation.open()
        return federation

    def events(self, kind: str) -> list[tuple[int, Any]]:
        return [(client, facts) for what, client, facts in self.told if what == kind]
