"""The functions of the library: what the command `mosaic` does, on a user's own arrays and modules.

`contribute` is a client's work and `distill` the server's. `run` and `compare` simulate a whole federation.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from mosaic_fl.arguments import (
    black_boxes,
    client_number,
    folder,
    idle_settings,
    names,
    numbers,
    own_custody,
    require_contributions,
    require_data,
    settings_of,
    whole_number,
    whole_numbers,
)
from mosaic_fl.client.audit_gate import pass_gate, trainer
from mosaic_fl.client.contribute import Site, common_start
from mosaic_fl.client.contribute import contribute as contribute_site
from mosaic_fl.client.sending import admit, record
from mosaic_fl.comparison.grid import Grid
from mosaic_fl.comparison.plan import make_plan
from mosaic_fl.comparison.run_grid import run_grid
from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_one_exchange
from mosaic_fl.config.presets import preset_config
from mosaic_fl.data.arrays import from_arrays, require_images
from mosaic_fl.data.sources import TEST_STREAM
from mosaic_fl.data.validation import TEST_SHARE, hold_out
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.encoders.encoding import encode_by_name
from mosaic_fl.engines.workers import one_thread
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.answers.function import BlackBox
from mosaic_fl.experts.reading import check_fields
from mosaic_fl.methods import METHODS
from mosaic_fl.models import trust
from mosaic_fl.models.own import Estimator
from mosaic_fl.notes import note
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_kinds
from mosaic_fl.runs.bundling import as_filed, check_bundle
from mosaic_fl.runs.folder import claim
from mosaic_fl.runs.runner import prepare
from mosaic_fl.runs.runner import run as run_setup
from mosaic_fl.server.agreement import compatible
from mosaic_fl.server.black_boxes import settle
from mosaic_fl.server.checks import check_distillation, check_student
from mosaic_fl.server.distill import distill as distill_contributions
from mosaic_fl.server.students import suited_student
from mosaic_fl.storage.folder_lock import vacate
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Recorder

Model = str | Path | Callable[..., nn.Module]
"""A name such as `cnn:16`, or a callable that returns a module from images in −1..1 to logits.

At a client also `random_forest`, `xgboost`, `lightgbm` or `logistic`, or the path of a FILE.onnx: docs/experts.md.
"""

ARRAYS = "arrays"
"""The name of data that came as arrays: in results it stands where a file or data set would."""
OWN_DATA = {"data.name": ARRAYS}


def contribute(
    images: npt.ArrayLike | Tensor | Dataset,
    labels: npt.ArrayLike | Tensor | None = None,
    *,
    model: Model | Estimator | None = None,
    client: int,
    classes: int | Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    limits: str | Path | None = None,
    log: str | Path | None = None,
) -> Contribution:
    """At a client: train on private data. Only the returned contribution leaves the client.

    `images` are uint8 (n, h, w), (n, h, w, channels) or (n, channels, h, w), or floats in `value_range`. `labels` are
    (n,) in 0..C−1. A `Dataset` stands for both. `model` may also be an estimator as scikit-learn's, fitted or not.
    Without a model the preset `private` holds: what leaves is class moments with noise in a public encoder's space.
    `classes` is the number of classes in the whole federation, or their names. Each site has its own number `client`.
    `settings` are those of `mosaic config`, as {"generator.steps": 500}; of the section `[data]` only `validation` has
    an effect, because the rest says what a simulation reads. `seed` (0) and `device` (auto) are short for run.seed and
    run.device. `limits` is a file with the site's table [limits], and `log` the file of all that leaves, by which they
    count: what is returned is in it. Without `limits` there are none. Raises UsageError for data, models or settings
    that cannot be used or that the limits forbid, MosaicError where training diverges or the audit's gate refuses.
    """
    number = client_number(client)
    custody = own_custody(limits, log)
    config = custody.with_gate(_config(settings, seed, device, "default" if model is not None else "private"))
    if isinstance(images, Dataset):
        if any(argument is not None for argument in (labels, classes, value_range)):
            raise UsageError("a Dataset has labels, classes and values of its own: give them where it is made")
        data = images
    elif labels is None:
        require_images(images)
        raise UsageError("images come without labels: give labels=, or a Dataset")
    else:
        data = from_arrays(images, labels, classes, value_range)
    require_data("images", data)
    name_kinds(data.schema)
    if idle := idle_settings(settings or (), "partition."):
        note(f"contribute learns from all the data that it is given: it has no use for {idle}")
    if model is None:
        data = encode_by_name(data, config.data.encoder, find_device(config.run.device))
    architecture = trust(config.models.clients[0] if model is None else model)
    check_fields(architecture, data.schema, data.samples.fields)
    with one_thread():
        site = Site(number, data, architecture)
        start = common_start(config, architecture, data.schema)
        place = find_device(config.run.device)
        admit(custody, site, config, place)
        made = contribute_site(site, config, place, lambda stage: Recorder(stage, number), start)
        made, found = pass_gate(site, made, config, trainer(place), "off")
    if found is not None and not found.passes:
        note(f"the contribution {found.summary}")
    record(custody, site, made, made.to_bytes())
    return made


def distill(
    contributions: Sequence[Contribution],
    *,
    student: Model = "",
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
    device: str | torch.device | None = None,
    answer: Mapping[int, BlackBox | Callable[[Any], Any]] | None = None,
) -> GlobalModel:
    """At the server: contributions in, one global model out, on synthetic data alone.

    `student` is the global model's architecture; the default suits the data. `settings`, `seed` and `device` are as in
    `contribute`. `answer` has a function, or a `BlackBox`, for each client whose contribution is a black box (model
    "answers"), by its number. Raises UsageError where the contributions do not fit together, where there is nothing to
    distil on, and where settings need more than one exchange with the clients.
    """
    config = _config(settings, seed, device)
    contributions = compatible(require_contributions(contributions))
    schema = contributions[0].schema
    suited = trust(student) if student else config.models.student or suited_student(contributions)
    config = config.with_values({"models.student": suited})
    check_student(config, schema, suited)
    check_one_exchange(config)
    check_distillation(config, schema, [c.architecture for c in contributions])
    check_bundle(config, schema)
    config = settle(contributions, config)
    boxes = black_boxes(contributions, answer)
    with one_thread():
        place = find_device(config.run.device)
        model = distill_contributions(contributions, config, place, Journal(), boxes=boxes).model
        return as_filed(model, config)


@dataclass(frozen=True)
class Run:
    """The result of `run`: the global model and its figures.

    `model` is None where all clients' models serve as an ensemble. `result` is the content of `result.json`:
    accuracies as fractions, bytes, seconds.
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
    """Simulate a federation of clients among which `train` is divided, and measure its result on `test`.

    Without `test` a fifth of each class is set aside as test data. `settings` are those of `mosaic config`, as
    {"partition.clients": 10, "models.student": "cnn:16"}; all others are as in the method's paper. Of the section
    `[data]` only `validation` has an effect, because the rest says what the command reads. `out` is a folder that does
    not exist yet; it gets all files that `mosaic run` writes, except drawn pictures. Without `out` nothing is written.
    Raises UsageError, before any work, for arguments that cannot work.

    >>> run("fedavg", digits, settings={"partition.clients": 2})  # doctest: +SKIP
    Run(FedAvg, accuracy 0.871)
    """
    defaults = METHODS[method].defaults if isinstance(method, str) and method in METHODS else {}
    values = settings_of(settings)
    if values.get("run.method", method) != method:
        raise UsageError(f"the method is {method}, and run.method in settings {values['run.method']}: give one of them")
    config = _config({**defaults, **values, **OWN_DATA, "run.method": method}, seed, None)
    _tell_idle("run", values)
    with one_thread(), ExitStack() as stack:
        setup = prepare(config, _splits(train, test))
        place = folder(out) if out is not None else Path(stack.enter_context(TemporaryDirectory()))
        stack.callback(vacate)
        claim(place, "run", setup.inputs, setup.config, resume=False, force=False)
        result = run_setup(setup, place)
        if out is not None:
            from mosaic_fl.report.page.page import write_page

            write_page(place)
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
    """Run several methods on the same clients, data, models, budgets and seeds.

    Returns one dictionary for each method and setting: `method`, the setting, `status` ("done", "failed", or "cannot"
    with its `reason`) and the figures of `mosaic compare`: `accuracy` as a fraction, bytes and seconds. Arguments are
    as in `run`. Raises UsageError.
    """
    own_settings = settings_of(settings)
    grid = Grid(
        names("methods", methods, "fedavg"),
        (whole_number("clients", clients),),
        numbers("alphas", alphas),
        names("architectures", architectures, "equal"),
        whole_numbers("rounds", rounds),
        whole_numbers("seeds", seeds),
        values={**own_settings, **OWN_DATA},
    )
    _tell_idle("compare", own_settings)
    with one_thread(), TemporaryDirectory() as place:
        plan = make_plan(grid, _splits(train, test))
        results = run_grid(plan, Path(place), lambda *_: None)
    return [
        {**asdict(cell.setting), "method": cell.method, "rounds": cell.rounds, **asdict(result)}
        for cell, result in results.items()
    ]


def _splits(train: Dataset, test: Dataset | None) -> Splits:
    """The data of a simulation; raises UsageError where the schema of the test data is another one."""
    require_data("train", train)
    name_kinds(train.schema)
    if test is not None:
        require_data("test", test)
        if test.schema != train.schema:
            raise UsageError(f"the test data have {test.schema.difference(train.schema)} as the training data")
        return Splits(ARRAYS, train, test)
    training, test = hold_out(train, TEST_SHARE, TEST_STREAM)
    if not len(test):
        raise UsageError(f"{len(train)} samples are too few to set a fifth aside for testing: give test=")
    return Splits(ARRAYS, training, test)


def _tell_idle(function: str, settings: dict[str, Any]) -> None:
    """Note settings that name data to read: the data are arguments, so these settings have no effect."""
    if idle := idle_settings(settings):
        note(f"{function} takes its data from train and test: it has no use for {idle}")


def _config(
    settings: dict[str, Any] | None, seed: int | None, device: str | torch.device | None, preset: str = "default"
) -> Config:
    place = str(device) if isinstance(device, torch.device) else device
    overrides = {name: value for name, value in (("run.seed", seed), ("run.device", place)) if value is not None}
    return preset_config(preset).with_values(settings_of(settings) | overrides)
