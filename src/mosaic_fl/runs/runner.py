"""A simulated run from data to result, in a folder from which it can be resumed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.attacks.attackers import Attackers
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Splits
from mosaic_fl.domains.samples import to_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.encoders.reading import load
from mosaic_fl.encoders.statement import encoder_figures
from mosaic_fl.engines.attacked import attacked
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.engines.sites import spread_with_attackers
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.audited import Audited
from mosaic_fl.exchange.federation import Engine
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.answers.kind import require_held
from mosaic_fl.experts.reading import check_any_field
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.averaging import shared_architecture
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import default_models, default_student, trust
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_generator
from mosaic_fl.runs.attacks import attack_figures
from mosaic_fl.runs.audits import stated_audits
from mosaic_fl.runs.benefit import benefit
from mosaic_fl.runs.bundling import as_filed, check_bundle
from mosaic_fl.runs.cross_site import simulated
from mosaic_fl.runs.detail import split
from mosaic_fl.runs.ending import conclude, earlier_result
from mosaic_fl.runs.evaluation import figures
from mosaic_fl.runs.generated import write_generated
from mosaic_fl.runs.privacy import private_architecture, run_privacy
from mosaic_fl.runs.result import Result
from mosaic_fl.runs.site_checks import check_sites
from mosaic_fl.runs.teaching import teaching
from mosaic_fl.server.checks import check_student
from mosaic_fl.server.students import global_name
from mosaic_fl.storage.files import sha256, write_atomic
from mosaic_fl.storage.journal import Journal
from mosaic_fl.storage.stopwatch import Stopwatch
from mosaic_fl.training.monitor import Listener, deaf


@dataclass(frozen=True)
class RunSetup:
    """All that a run needs, after its checks; `inputs` is the hash of its data, `attackers` who lies."""

    config: Config
    splits: Splits
    sites: tuple[Site, ...]
    student: str
    device: torch.device
    inputs: str
    attackers: Attackers | None = None


def prepare(config: Config, splits: Splits | None = None) -> RunSetup:
    """Load the data (or take `splits`), divide it among the clients, and check every name in the configuration.

    Raises UsageError, also for `splits` on an engine whose clients read the data themselves.
    """
    if splits is not None and config.run.engine != "local":
        raise UsageError(
            f"run.engine = {config.run.engine}: its clients read the data themselves, and cannot have arrays: leave it "
            "out, or write the data to files for mosaic run"
        )
    device = find_device(config.run.device)
    name_generator(config.generator.family)
    splits = load(config) if splits is None else splits
    card = METHODS[config.run.method]
    card.check_samples(splits.train.schema)
    models, student = architectures(config, splits.train.schema)
    if card.equal_architectures:
        student = shared_architecture(models if config.models.clients else [student], card.title)
        models = [student]
    card.check(config, splits.train.schema, models, student)
    sites, attackers = spread_with_attackers(config, splits, models)
    check_sites(config, sites, device)
    check_bundle(config, splits.train.schema)
    full = config.with_values({"models.clients": [s.architecture for s in sites], "models.student": student})
    return RunSetup(full, splits, sites, student, device, fingerprint(splits), attackers)


def architectures(config: Config, schema: Schema) -> tuple[list[str], str]:
    """(architectures of the clients in turn, that of the student), checked on `schema`; raises UsageError."""
    named = [trust(spec) for spec in config.models.clients] or list(default_models(schema))
    models = [private_architecture(spec, config) for spec in named]
    student = trust(config.models.student or default_student(schema))
    require_held(models)
    for spec in set(models):
        check_any_field(spec, schema)
    check_student(config, schema, student)
    return models, student


def run(
    setup: RunSetup,
    folder: Path,
    listen: Listener = deaf,
    stopwatch: Stopwatch | None = None,
    *,
    keep_stages: bool = False,
) -> dict[str, Any]:
    """Start or resume the run in `folder`, write its files there, and return the content of `result.json`.

    The test set is used once, at the end. The same configuration gives the same figures, also for a run that was killed
    and resumed. A run that has its result does nothing again. Stages are deleted at the end, unless `keep_stages`.
    """
    if (earlier := earlier_result(folder, keep_stages=keep_stages)) is not None:
        return earlier
    config = setup.config
    device = setup.device
    journal = Journal(folder, listen, stopwatch)

    def work(federation: Engine, journal: Journal) -> EngineResult:
        torch.set_num_threads(config.run.threads)  # here, because the number is that of the calling thread
        outcome = METHODS[config.run.method].run(attacked(federation, setup.attackers), config, device, journal)
        if outcome.model is None:
            return outcome, {}, federation.alone, federation.audits
        write_atomic(folder / "global_model.safetensors", as_filed(outcome.model, config).to_bytes())
        confusions = federation.judge(outcome.model.architecture, outcome.model.state)
        return outcome, confusions, federation.alone, federation.audits

    outcome, confusions, alone, audits, ceiling = _on_engine(setup, journal, work)
    with journal.clock.stage("measure"):
        clients = len(setup.sites)
        scores = figures(outcome, setup.splits.test, ceiling, list(confusions.values()), device, clients)
        bundle = as_filed(outcome.model, config).bundle if outcome.model is not None else {}
        scores |= benefit(scores, alone, confusions, [site.architecture for site in setup.sites])
        scores |= simulated(outcome, setup.sites, config, device)
        scores |= encoder_figures(setup.splits.train.schema, bundle)
        scores |= run_privacy(config, setup.sites) | stated_audits(audits)
        scores |= attack_figures(setup.attackers, outcome.model, setup.splits.test)
        scores["detail"] |= teaching(outcome, setup.splits.test, device)
        scores["detail"] |= split({site.client: site.data.class_counts() for site in setup.sites})
        if outcome.distilled is not None:
            write_generated(outcome.distilled.contributions, folder, config.run.seed)
    result = simulation_result(config, setup.sites, outcome, scores, journal.clock.report())
    return conclude(result, journal, keep_stages=keep_stages)


EngineResult = tuple[Outcome, Mapping[int, Tensor], Mapping[int, Mapping[str, float]], Mapping[int, Audited]]
"""A method's outcome; by client the confusions of its global model, the figures of their own models, their audits."""


def _on_engine(
    setup: RunSetup, journal: Journal, work: Callable[[Engine, Journal], EngineResult]
) -> tuple[Outcome, Mapping[int, Tensor], Mapping[int, Mapping[str, float]], Mapping[int, Audited], GlobalModel | None]:
    """The result of `work` on the engine of the configuration, and the centralised model or None."""
    config = setup.config
    engine_result = None
    if config.run.engine == "flower":
        from mosaic_fl.engines.flower.simulation import simulate

        engine_result = simulate(config, journal, work)
    ceiling = None
    if engine_result is None or config.run.centralised:
        with LocalFederation(setup.sites, config, setup.device, journal) as federation:
            if config.run.centralised:
                federation.plan_ceiling(setup.student, config.distill.steps)
            engine_result = engine_result or work(federation, journal)
            if config.run.centralised:
                ceiling = GlobalModel(global_name(setup.student), federation.schema, federation.ceiling())
    return *engine_result, ceiling


def simulation_result(
    config: Config,
    sites: Sequence[Site],
    outcome: Outcome,
    scores: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> Result:
    """The result of a method on simulated clients, with its figures `scores`."""
    return Result(
        "simulation",
        config,
        [site.architecture for site in sites],
        outcome,
        scores,
        seconds,
        data=config.data.name,
        samples=[len(site.data) for site in sites],
        classes_held=[int((site.data.class_counts() > 0).sum()) for site in sites],
    )


def fingerprint(splits: Splits) -> str:
    """SHA-256 of all samples and labels, and of a schema that says more of them than their shape."""
    schema = splits.train.schema
    about = (
        [] if [kind.name for kind in schema.fields.values()] == ["image"] else [json.dumps(schema.to_json()).encode()]
    )
    tensors = [t for part in (splits.train, splits.test) for t in (*to_tensors(part.samples, "").values(), part.labels)]
    return sha256(*about, *(t.numpy().tobytes() for t in tensors))
