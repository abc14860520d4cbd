"""A grid with its data, checked before any work: the cells that can run, and the reasons why the others cannot."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from mosaic_fl.attacks.attackers import Attackers
from mosaic_fl.client.contribute import Site
from mosaic_fl.comparison.grid import CENTRALISED, Cell, Grid, Setting, needs
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Splits
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.reading import load
from mosaic_fl.engines.sites import spread_with_attackers
from mosaic_fl.errors import UsageError, in_one_line
from mosaic_fl.methods import METHODS
from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_generator
from mosaic_fl.runs.quality import wants_quality
from mosaic_fl.runs.runner import architectures, fingerprint
from mosaic_fl.runs.site_checks import check_sites
from mosaic_fl.storage.files import sha256


@dataclass(frozen=True)
class Plan:
    """A grid with its data and names.

    `splits` are the data by seed, `inputs` is their hash. `models` are the clients' architectures in mixed settings.
    `barred` are the cells that cannot run, each with the reason in words.
    """

    grid: Grid
    splits: Mapping[int, Splits]
    inputs: str
    models: Sequence[str]
    student: str
    device: torch.device
    barred: Mapping[Cell, str]

    @property
    def schema(self) -> Schema:
        """The schema of all samples."""
        return next(iter(self.splits.values())).train.schema

    @property
    def runnable(self) -> list[Cell]:
        """The cells that can run, in order."""
        return [cell for cell in self.grid.cells() if cell not in self.barred]

    def cells(self, setting: Setting) -> list[Cell]:
        """The cells of a setting that can run, in order."""
        return [cell for cell in self.runnable if cell.setting == setting]

    def config(self, cell: Cell) -> Config:
        """The cell's configuration, with the names of all models."""
        return self.grid.config(cell, self.models, self.student)

    def sites(self, cell: Cell) -> tuple[Site, ...]:
        """The cell's clients."""
        return self.clients(cell)[0]

    def clients(self, cell: Cell) -> tuple[tuple[Site, ...], Attackers | None]:
        """The cell's clients, and who lies among them."""
        config = self.config(cell)
        return spread_with_attackers(config, self.splits[cell.setting.seed], config.models.clients)


def make_plan(grid: Grid, data: Splits | None = None) -> Plan:
    """Load the data, unless `data` is there, and check every cell.

    Raises UsageError for wrong data or models, and where no cell can run.
    """
    base = grid.base()
    device = find_device(base.run.device)
    splits = _load(grid, base) if data is None else dict.fromkeys(grid.seeds, data)
    schema = splits[grid.seeds[0]].train.schema
    models, student = architectures(base, schema)
    if "mixed" in grid.architectures and len(set(models)) < 2:
        two = "mlp:64,mlp:128" if schema.of_rows else "cnn:16,mlp:64"
        two = "fusion:64,fusion:128" if schema.joins else two
        lack = f"mixed architectures need at least two, not {models[0]} alone"
        if "equal" not in grid.architectures:
            raise UsageError(f"{lack}: say --models {two}, or --architectures equal")
        note(f"{lack}, so they are left out (--models {two} has them)")
        grid = replace(grid, architectures=("equal",))
    inputs = sha256(*(fingerprint(split).encode() for split in splits.values()))
    grid = _with_metric(grid, splits[grid.seeds[0]])
    plan = Plan(grid, splits, inputs, models, student, device, {})
    barred = _barred_cells(plan, schema)
    if len(barred) == len(grid.cells()):
        cell, reason = next(iter(barred.items()))
        raise UsageError(f"no cell of this grid can run; {cell}: {reason}")
    return Plan(grid, splits, inputs, models, student, device, barred)


def _with_metric(grid: Grid, splits: Splits) -> Grid:
    """The grid with a metric that the data have; raises UsageError where they have not the user's."""
    rows = wants_quality(splits.test.samples)
    if grid.metric not in ("auto", "accuracy") and not rows:
        raise UsageError(f"--metric {grid.metric} is measured on rows of tables alone: say accuracy, or leave it out")
    binary = splits.test.schema.num_classes == 2
    return replace(grid, metric=("auroc" if rows and binary else "accuracy") if grid.metric == "auto" else grid.metric)


def _load(grid: Grid, base: Config) -> dict[int, Splits]:
    """The data by seed. The seed chooses subsets, so without subsets all seeds have the same data."""
    if not (base.data.max_train or base.data.max_test):
        return dict.fromkeys(grid.seeds, load(base.with_values({"run.seed": grid.seeds[0]})))
    return {seed: load(base.with_values({"run.seed": seed})) for seed in grid.seeds}


def _barred_cells(plan: Plan, schema: Schema) -> dict[Cell, str]:
    """The cells that cannot run, each with the reason in words."""
    reasons: dict[tuple[str, int, str, int], str] = {}  # by the parts of a cell that a check of its method depends on
    barred = {}
    for setting in plan.grid.settings():
        cells = [cell for cell in plan.grid.cells() if cell.setting == setting]
        sites = tuple[Site, ...]()
        split_error = ""
        try:
            sites = plan.sites(cells[0])  # all cells of a setting have the same split
        except UsageError as error:
            split_error = in_one_line(error)
        for cell in cells:
            key = (cell.method, setting.clients, setting.architectures, cell.rounds)
            if key not in reasons:
                reasons[key] = _method_obstacle(plan, cell, schema)
            if reason := reasons[key] or split_error or _sample_obstacle(plan, cell, sites):
                barred[cell] = reason
    return barred


def _method_obstacle(plan: Plan, cell: Cell, schema: Schema) -> str:
    """Why the cell's method cannot run in its setting, in words; empty where it can."""
    if cell.method == CENTRALISED:
        return ""
    card = METHODS[cell.method]
    config = plan.config(cell)
    return (
        needs(card, cell.setting)
        or _error_of(partial(name_generator, config.generator.family))
        or _error_of(partial(card.check, config, schema, config.models.clients, plan.student))
    )


def _sample_obstacle(plan: Plan, cell: Cell, sites: Sequence[Site]) -> str:
    """Why the clients' samples do not suffice for the cell's method, in words; empty where they do."""
    if cell.method == CENTRALISED:
        return ""
    return _error_of(partial(check_sites, plan.config(cell), sites, plan.device))


def _error_of(attempt: Callable[[], object]) -> str:
    """The UsageError of `attempt()` in one line; empty where it raises none."""
    try:
        attempt()
    except UsageError as error:
        return in_one_line(error)
    return ""
