"""The library's front door: the same two steps as the command, on a user's own arrays and modules."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
from torch import Tensor, nn

from mosaic_fl.client.contribute import Site, common_start
from mosaic_fl.client.contribute import contribute as contribute_site
from mosaic_fl.config import Config
from mosaic_fl.config.checks import check_one_exchange
from mosaic_fl.data.arrays import from_arrays
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.workers import one_thread
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import MAX_CLIENT, Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import check, trust
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.server.checks import check_distillation
from mosaic_fl.server.distill import compatible
from mosaic_fl.server.distill import distill as distill_contributions
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Recorder

Model = str | Callable[..., nn.Module]
"""A name such as `cnn:16`, or a callable that returns a module from images in −1..1 to logits."""


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
    device: str | None = None,
) -> Contribution:
    """At a client: train on private data; the result is all that leaves.

    `images` uint8 (n, h, w), (n, h, w, channels) or (n, channels, h, w), or floats in `value_range`; `labels` (n,) in
    0..C−1; or an `Dataset` alone. `classes`: how many the whole federation has, or their names. `client` is another
    number at each site. `settings` are those of `mosaic config`, as {"generator.steps": 500}; of `[data]`, which says
    what a simulation reads, `validation` counts alone. `seed` (0) and `device` (auto) are short for two of them. Raises
    UsageError for data or settings that cannot be used, MosaicError where training diverges.
    """
    number = _number(client)
    if isinstance(images, Dataset):
        if any(given is not None for given in (labels, classes, value_range)):
            raise UsageError("an Dataset has labels, classes and values of its own: give them where it is made")
        data = images
    elif labels is None:
        raise UsageError("images come without labels: give labels=, or an Dataset")
    else:
        data = from_arrays(images, labels, classes, value_range)
    config = _config(settings, seed, device)
    architecture = trust(model)
    check(architecture, data.schema)
    with one_thread():
        site = Site(number, data, architecture)
        start, place = common_start(config, architecture, data.schema), find_device(config.run.device)
        return contribute_site(site, config, place, lambda stage: Recorder(stage, number), start)


def distill(
    contributions: Sequence[Contribution],
    *,
    student: Model = "",
    settings: dict[str, Any] | None = None,
    seed: int | None = None,
    device: str | None = None,
) -> GlobalModel:
    """At the server: contributions in, one global model out, on synthetic data alone.

    `student` is the global model's architecture; without it one that suits the data. `settings`, `seed` and `device` as
    in `contribute`. Raises UsageError where the contributions do not fit together, there is nothing to distil on, or
    settings ask for more than this one exchange.
    """
    config, contributions = _config(settings, seed, device), compatible(contributions)
    schema = contributions[0].schema
    if student:
        config = config.with_values({"models.student": trust(student)})
        check(config.models.student, schema)
    check_one_exchange(config)
    check_distillation(config, schema, [c.architecture for c in contributions])
    with one_thread():
        return distill_contributions(contributions, config, find_device(config.run.device), Journal()).model


def _number(client: Any) -> int:
    """A client's number as Python's int, numpy's too; raises UsageError for what is none."""
    try:
        number = operator.index(client)
    except TypeError:
        number = -1
    if isinstance(client, bool) or not 0 <= number <= MAX_CLIENT:
        raise UsageError(f"client is {client!r}: give each site another whole number in 0..{MAX_CLIENT}")
    return number


def _config(settings: dict[str, Any] | None, seed: int | None, device: str | None) -> Config:
    said = {name: value for name, value in (("run.seed", seed), ("run.device", device)) if value is not None}
    return Config().with_values({**(settings or {}), **said})
