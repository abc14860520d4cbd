"""A grid with its data, checked before any work: which cells can run, and why the others cannot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.comparison.grid import CENTRALISED, Cell, Grid, Setting, needs
from mosaic_fl.config import Config
from mosaic_fl.data.sources import load
from mosaic_fl.domains.dataset import Splits
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.sites import spread
from mosaic_fl.errors import UsageError, in_one_line
from mosaic_fl.methods import METHODS
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_generator
from mosaic_fl.runs.runner import architectures, fingerprint
from mosaic_fl.runs.site_checks import check_sites
from mosaic_fl.storage.files import sha256


@dataclass(frozen=True)
class Plan:
    """All that the cells of `grid` need.

    `splits` are the data by seed, `inputs` the hash of all of it, `models` the clients' architectures where they are
    mixed, `barred` the cells that cannot run, each with the reason in words.
    """

    grid: Grid
    splits: Mapping[int, Splits]
    inputs: str
    models: Sequence[str]
    student: str
    device: torch.device
    barred: Mapping[Cell, str]

    @property
    def runnable(self) -> list[Cell]:
        """The cells that can run, in order."""
        return [cell for cell in self.grid.cells() if cell not in self.barred]

    def cells(self, setting: Setting) -> list[Cell]:
        """The cells of a setting that can run, in order."""
        return [cell for cell in self.runnable if cell.setting == setting]

    def config(self, cell: Cell) -> Config:
        """The cell's configuration with all names in it."""
        return self.grid.config(cell, self.models, self.student)

    def sites(self, cell: Cell) -> tuple[Site, ...]:
        """The cell's clients."""
        config = self.config(cell)
        return spread(config, self.splits[cell.setting.seed], config.models.clients)


def make_plan(grid: Grid, data: Splits | None = None) -> Plan:
    """Load the data, unless it is given, and check every cell.

    Raises UsageError where something is wrong, or no cell can run.
    """
    base = grid.base()
    device = find_device(base.run.device)
    splits = _load(grid, base) if data is None else dict.fromkeys(grid.seeds, data)
    schema = splits[grid.seeds[0]].train.schema
    models, student = architectures(base, schema)
    if "mixed" in grid.architectures and len(set(models)) < 2:
        raise UsageError(f"mixed architectures need at least two, not {models[0]} alone: say --models cnn:16,mlp:64")
    inputs = sha256(*(fingerprint(split).encode() for split in splits.values()))
    plan = Plan(grid, splits, inputs, models, student, device, {})
    barred = _barred(plan, schema)
    if len(barred) == len(grid.cells()):
        cell, reason = next(iter(barred.items()))
        raise UsageError(f"no cell of this grid can run; {cell}: {reason}")
    return Plan(grid, splits, inputs, models, student, device, barred)


def _load(grid: Grid, base: Config) -> dict[int, Splits]:
    """The data by seed: the seed draws subsets, so without them all seeds have the same."""
    if not (base.data.max_train or base.data.max_test):
        return dict.fromkeys(grid.seeds, load(base.data, grid.seeds[0]))
    return {seed: load(base.data, seed) for seed in grid.seeds}


def _barred(plan: Plan, schema: Schema) -> dict[Cell, str]:
    checked: dict[tuple[str, int, str, int], str] = {}  # a check of names does not depend on all of a cell
    barred = {}
    for setting in plan.grid.settings():
        cells = [cell for cell in plan.grid.cells() if cell.setting == setting]
        sites = tuple[Site, ...]()
        undrawn = ""
        try:
            sites = plan.sites(cells[0])  # the split is the same for all of them
        except UsageError as error:
            undrawn = in_one_line(error)
        for cell in cells:
            alike = (cell.method, setting.clients, setting.architectures, cell.rounds)
            if alike not in checked:
                checked[alike] = _wrong(plan, cell, schema)
            if reason := checked[alike] or undrawn or _too_small(plan, cell, sites):
                barred[cell] = reason
    return barred


def _wrong(plan: Plan, cell: Cell, schema: Schema) -> str:
    """Why the cell's method cannot run there, in words; empty where it can."""
    if cell.method == CENTRALISED:
        return ""
    card = METHODS[cell.method]
    config = plan.config(cell)
    return (
        needs(card, cell.setting)
        or _reason(partial(name_generator, config.generator.family))
        or _reason(partial(card.check, config, schema, config.models.clients, plan.student))
    )


def _too_small(plan: Plan, cell: Cell, sites: Sequence[Site]) -> str:
    """Why the clients of the cell have too few samples for its method, in words; empty where they have enough."""
    if cell.method == CENTRALISED:
        return ""
    return _reason(partial(check_sites, plan.config(cell), sites, plan.device))


def _reason(attempt: Callable[[], object]) -> str:
    """The UsageError of `attempt()` as one line; empty where there is none."""
    try:
        attempt()
    except UsageError as error:
        return in_one_line(error)
    return ""
