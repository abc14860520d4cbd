"""The library's front door: what the command does, on a user's own arrays and modules."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from mosaic_fl.arguments import (
    client_number,
    folder,
    names,
    numbers,
    require_contributions,
    require_data,
    settings_of,
    whole,
    wholes,
    without_use,
)
from mosaic_fl.client.contribute import Site, common_start
from mosaic_fl.client.contribute import contribute as contribute_site
from mosaic_fl.comparison.grid import Grid
from mosaic_fl.comparison.plan import make_plan
from mosaic_fl.comparison.run_grid import run_grid
from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_one_exchange
from mosaic_fl.data.arrays import from_arrays
from mosaic_fl.data.sources import TEST_SHARE, TEST_STREAM
from mosaic_fl.data.validation import hold_out
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.engines.workers import one_thread
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.naming import check as check_expert
from mosaic_fl.methods import METHODS
from mosaic_fl.models import check, trust
from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_kinds
from mosaic_fl.runs.folder import claim
from mosaic_fl.runs.runner import prepare
from mosaic_fl.runs.runner import run as run_prepared
from mosaic_fl.server.checks import check_distillation
from mosaic_fl.server.distill import compatible
from mosaic_fl.server.distill import distill as distill_contributions
from mosaic_fl.storage.folder_lock import vacate
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Recorder

Model = str | Callable[..., nn.Module]
"""A name such as `cnn:16`, or a callable that returns a module from images in −1..1 to logits."""

ARRAYS = "arrays"
"""What data are called that nobody read from anywhere."""
OWN_DATA = {"data.name": ARRAYS}


def contribute(
    images: npt.ArrayLike | Tensor | Dataset,
    labels: npt.ArrayLike | Tensor | None = None,
    *,
    model: Model,
    client: int,
    classes: int | Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
) -> Contribution:
    """At a client: train on private data; the result is all that leaves.

    `images` uint8 (n, h, w), (n, h, w, channels) or (n, channels, h, w), or floats in `value_range`; `labels` (n,) in
    0..C−1; or a `Dataset` alone. `classes`: how many the whole federation has, or their names. `client` is another
    number at each site. `settings` are those of `mosaic config`, as {"generator.steps": 500}; of `[data]`, which says
    what a simulation reads, `validation` counts alone. `seed` (0) and `device` (auto) are short for two of them. Raises
    UsageError for data or settings that cannot be used, MosaicError where training diverges.
    """
    number = client_number(client)
    config = _config(settings, seed, device)
    if isinstance(images, Dataset):
        if any(given is not None for given in (labels, classes, value_range)):
            raise UsageError("a Dataset has labels, classes and values of its own: give them where it is made")
        data = images
    elif labels is None:
        raise UsageError("images come without labels: give labels=, or a Dataset")
    else:
        data = from_arrays(images, labels, classes, value_range)
    require_data("images", data)
    name_kinds(data.schema)
    if idle := without_use(settings or (), "partition."):
        note(f"contribute learns from all the data that it is given: it has no use for {idle}")
    architecture = trust(model)
    check_expert(architecture, data.schema)
    with one_thread():
        site = Site(number, data, architecture)
        start = common_start(config, architecture, data.schema)
        place = find_device(config.run.device)
        return contribute_site(site, config, place, lambda stage: Recorder(stage, number), start)


def distill(
    contributions: Sequence[Contribution],
    *,
    student: Model = "",
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
) -> GlobalModel:
    """At the server: contributions in, one global model out, on synthetic data alone.

    `student` is the global model's architecture; without it one that suits the data. `settings`, `seed` and `device` as
    in `contribute`. Raises UsageError where the contributions do not fit together, there is nothing to distil on, or
    settings ask for more than this one exchange.
    """
    config = _config(settings, seed, device)
    contributions = compatible(require_contributions(contributions))
    schema = contributions[0].schema
    if student:
        config = config.with_values({"models.student": trust(student)})
        check(config.models.student, schema)
    check_one_exchange(config)
    check_distillation(config, schema, [c.architecture for c in contributions])
    with one_thread():
        return distill_contributions(contributions, config, find_device(config.run.device), Journal()).model


@dataclass(frozen=True)
class Run:
    """What came of `run`: the one global model (None where the method serves all clients' models), and its figures.

    `result` is the content of `result.json`: accuracies as fractions, bytes, seconds.
    """

    model: GlobalModel | None
    result: dict[str, Any]

    def __repr__(self) -> str:
        return f"Run({self.result['title']}, accuracy {self.result['accuracy']:.3f})"


def run(
    method: str,
    train: Dataset,
    test: Dataset | None = None,
    *,
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
) -> Run:
    """Simulate a federation of clients that share `train`, and measure what it gives on `test`.

    Without `test` a fifth of each class is set aside for it. `settings` are those of `mosaic config`, as
    {"partition.clients": 10, "models.student": "cnn:16"}; what they leave open is as in the method's paper; of
    `[data]`, which says what the command reads, `validation` counts alone. `out` is a
    folder that is not there yet, for all that `mosaic run` writes but pictures; without it nothing is written. Raises
    UsageError for what cannot work, before any of it is done.

    >>> run("fedavg", digits, settings={"partition.clients": 2})  # doctest: +SKIP
    Run(FedAvg, accuracy 0.871)
    """
    defaults = METHODS[method].defaults if isinstance(method, str) and method in METHODS else {}
    given = settings_of(settings)
    if given.get("run.method", method) != method:
        raise UsageError(f"the method is {method}, and run.method in settings {given['run.method']}: give one of them")
    config = _config({**defaults, **given, **OWN_DATA, "run.method": method}, seed, None)
    _tell_idle("run", given)
    with one_thread(), ExitStack() as stack:
        prepared = prepare(config, _splits(train, test))
        place = folder(out) if out is not None else Path(stack.enter_context(TemporaryDirectory()))
        stack.callback(vacate)
        claim(place, "run", prepared.inputs, prepared.config, resume=False, force=False)
        result = run_prepared(prepared, place)
        file = place / "global_model.safetensors"
        return Run(GlobalModel.load(file) if file.exists() else None, result)


def compare(
    methods: Sequence[str],
    train: Dataset,
    test: Dataset | None = None,
    *,
    clients: int = 5,
    alphas: Sequence[float] = (0.1,),
    architectures: Sequence[str] = ("equal",),
    rounds: Sequence[int] = (1,),
    seeds: Sequence[int] = (0,),
    settings: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Run several methods on the same clients, data, models, budgets and seeds; one dictionary a method and setting.

    Each has `method`, the setting, `status` ("done", "failed", "cannot" with its `reason`) and the figures of
    `mosaic compare`: `accuracy` as a fraction, bytes and seconds. Arguments as in `run`. Raises UsageError.
    """
    given = settings_of(settings)
    grid = Grid(
        names("methods", methods, "fedavg"),
        (whole("clients", clients),),
        numbers("alphas", alphas),
        names("architectures", architectures, "equal"),
        wholes("rounds", rounds),
        wholes("seeds", seeds),
        values={**given, **OWN_DATA},
    )
    _tell_idle("compare", given)
    with one_thread(), TemporaryDirectory() as place:
        plan = make_plan(grid, _splits(train, test))
        results = run_grid(plan, Path(place), lambda *_: None)
    return [
        {**asdict(cell.setting), "method": cell.method, "rounds": cell.rounds, **asdict(result)}
        for cell, result in results.items()
    ]


def _splits(train: Dataset, test: Dataset | None) -> Splits:
    """The data of a simulation; raises UsageError where test data are of another schema."""
    require_data("train", train)
    name_kinds(train.schema)
    if test is not None:
        require_data("test", test)
        if test.schema != train.schema:
            raise UsageError(f"the test data have {test.schema.difference(train.schema)} as the training data")
        return Splits(ARRAYS, train, test)
    rest, test = hold_out(train, TEST_SHARE, TEST_STREAM)
    if not len(test):
        raise UsageError(f"{len(train)} samples are too few to set a fifth aside for testing: give test=")
    return Splits(ARRAYS, rest, test)


def _tell_idle(function: str, settings: dict[str, Any]) -> None:
    """Tell of settings that say which data to read, where they are given."""
    if idle := without_use(settings):
        note(f"{function} takes its data from train and test: it has no use for {idle}")


def _config(settings: dict[str, Any] | None, seed: int | None, device: str | torch.device | None) -> Config:
    place = str(device) if isinstance(device, torch.device) else device
    said = {name: value for name, value in (("run.seed", seed), ("run.device", place)) if value is not None}
    return Config().with_values(settings_of(settings) | said)
