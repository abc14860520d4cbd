"""A simulated run from data to result, in a folder that can be taken up again."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.config_file import from_toml, to_toml
from mosaic_fl.data.dataset import Splits
from mosaic_fl.data.partition import partition
from mosaic_fl.data.sources import load
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.evaluation import figures
from mosaic_fl.files import remove_partial, write_atomic
from mosaic_fl.generators.flow import flow_spec
from mosaic_fl.journal import Journal
from mosaic_fl.methods import AVERAGING, METHODS, Outcome
from mosaic_fl.methods.averaging import shared_architecture
from mosaic_fl.methods.width import assign
from mosaic_fl.models import check, default_models, default_student, trust
from mosaic_fl.monitor import Listener, deaf
from mosaic_fl.server.prior import check_prior
from mosaic_fl.server.transfer import prior_kind

# Settings that change how fast a run is, and not its result.
FREE = ("workers",)


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, checked before any work is spent."""

    config: Config
    splits: Splits
    sites: tuple[Site, ...]
    student: str
    device: torch.device


def prepare(config: Config) -> Prepared:
    """Load the data, split it, and check every name in the configuration; raises UsageError."""
    device = find_device(config.run.device)
    splits = load(config.data, config.run.seed)
    schema = splits.train.schema
    models = [trust(spec) for spec in config.models.clients] or list(default_models(schema))
    student = trust(config.models.student or default_student(schema))
    for spec in {*models, student}:
        check(spec, schema)
    if config.run.method in AVERAGING:
        models = [shared_architecture(models if config.models.clients else [student], config.run.method)]
    kind = config.rounds.kind if config.run.method == "mosaic" else config.run.method
    if kind in ("heterofl", "fedrolex"):
        assign(shared_architecture(models, kind), config.models.ratios, config.partition.clients)
    if config.generator.family == "flow":
        flow_spec(schema, config.generator.width)
    check_prior(prior_kind(config.distill, schema))
    shards = partition(splits.train, config.partition, config.run.seed)
    sites = tuple(Site(k, shard, models[k % len(models)]) for k, shard in enumerate(shards))
    full = config.with_values({"models.clients": [s.architecture for s in sites], "models.student": student})
    return Prepared(full, splits, sites, student, device)


def run(prepared: Prepared, folder: Path, listen: Listener = deaf) -> dict[str, Any]:
    """Do what is not yet done of a run in `folder`, write its files there, and return `result.json`'s content.

    The test set is touched once, at the end. The same configuration gives the same figures, killed and resumed or not.
    """
    config, device = prepared.config, prepared.device
    journal = Journal(folder, listen)
    torch.set_num_threads(config.run.threads)
    with LocalFederation(prepared.sites, config, device, journal) as federation:
        if config.run.centralised:
            federation.plan_ceiling(prepared.student, config.distill.steps)
        outcome = METHODS[config.run.method](federation, config, device, journal)
        write_atomic(folder / "global_model.safetensors", outcome.model.to_bytes())
        confusions = federation.evaluate(outcome.model.architecture, outcome.model.state)
        ceiling = federation.ceiling() if config.run.centralised else None
    result = {
        **_described(prepared, outcome),
        **figures(outcome, prepared.splits.test, ceiling, confusions, device),
        "seconds": journal.seconds(),
    }
    write_atomic(folder / "result.json", json.dumps(result, indent=2) + "\n")
    return result


def claim(folder: Path, config: Config, *, resume: bool, force: bool) -> None:
    """Make `folder` this run's own, with its `config.toml`.

    Raises UsageError where it holds anything and neither `resume` nor `force` was said, or where it is a run of another
    configuration; MosaicError where it cannot be written.
    """
    kept = folder / "config.toml"
    if force and folder.exists():
        if not kept.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not the folder of a run: --force will not delete it; choose another --out")
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise MosaicError(f"cannot empty {folder}: {error.strerror}") from error
    elif resume and kept.exists():
        _require_same(from_toml(kept), config, folder)
        remove_partial(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} exists: add --resume to go on with it, --force to start over, or choose another --out"
        )
    write_atomic(kept, to_toml(config))
    if not os.access(folder, os.W_OK):
        raise MosaicError(f"cannot write to {folder}: choose another --out")


def find_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, or the CPU; raises UsageError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not available here: use auto or cpu") from error
    return device


def _require_same(before: Config, now: Config, folder: Path) -> None:
    old, new = before.model_dump(), now.model_dump()
    for section, values in new.items():
        for key, value in values.items():
            if key not in FREE and old[section][key] != value:
                raise UsageError(
                    f"{folder} holds a run with {section}.{key} = {old[section][key]!r}, not {value!r}: "
                    "resume it with the same settings, or choose another --out"
                )


def _described(prepared: Prepared, outcome: Outcome) -> dict[str, Any]:
    config = prepared.config
    counts = [site.data.class_counts() for site in prepared.sites]
    return {
        "method": config.run.method,
        "data": config.data.name,
        "clients": len(prepared.sites),
        "split": config.partition.split,
        "alpha": config.partition.alpha,
        "seed": config.run.seed,
        "models": [site.architecture for site in prepared.sites],
        "student": outcome.model.architecture,
        "samples": [len(site.data) for site in prepared.sites],
        "classes_held": [int((c > 0).sum()) for c in counts],
        "bytes_up": outcome.bytes_up,
        "bytes_down": outcome.bytes_down,
    }
