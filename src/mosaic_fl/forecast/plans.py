"""The plan of a command, its work as counts: `mosaic run`, `mosaic contribute`, `mosaic distill`."""

from collections.abc import Sequence
from math import ceil

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.local import worker_count
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.experts.closed_form import is_closed_form
from mosaic_fl.experts.training import steps_for
from mosaic_fl.forecast.clients import Share, contribution, rung, share_of, spec_of
from mosaic_fl.forecast.foreign import not_counted
from mosaic_fl.forecast.methods import count
from mosaic_fl.forecast.server import Contributor, distillation, outputs
from mosaic_fl.forecast.setup import Setup
from mosaic_fl.forecast.sizes import contribution_bytes, model_bytes
from mosaic_fl.forecast.work import Job, Phase, Plan, Unit
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.runs.runner import RunSetup
from mosaic_fl.server.boosting import is_boosted
from mosaic_fl.server.students import global_name

PICTURES = 250_000  # bytes of a run's pictures, its result, its settings and its curves
DRAWING = 1.5  # seconds to draw the pictures
PATIENCE = "training may stop early (train.patience)"


def plan_run(prepared: RunSetup) -> Plan:
    """The plan of `mosaic run`."""
    config = prepared.config
    splits = prepared.splits
    shares = [share_of(site, config) for site in prepared.sites]
    schema = splits.train.schema
    student = prepared.student
    device = prepared.device
    workload = count(Setup(shares, schema, config, student, device, len(splits.test)))
    ending = Phase(server=[Job("pictures", Unit("fixed"), DRAWING)])
    background = list[Job]()
    if config.run.centralised:
        background = ceiling(shares, config, student)
        workload.disk += model_bytes(student, schema)
        ending = Phase(server=[*ending.server, Job("figures", Unit("forward", global_name(student)), len(splits.test))])
    return Plan(
        images=len(splits.train) + len(splits.test),
        clients=len(shares),
        phases=[*workload.phases, ending],
        workers=worker_count(config.run.workers, len(shares), device),
        background=background,
        up=round(workload.up),
        down=round(workload.down),
        disk=workload.disk + PICTURES,
        pools=workload.pools,
        largest=max(len(site.data) for site in prepared.sites),
        early_ends=early_ends(config),
        not_counted=not_counted([share.architecture for share in shares], student),
    )


def plan_contribution(site: Site, config: Config, device: torch.device) -> Plan:
    """The plan of `mosaic contribute`."""
    share = share_of(site, config)
    schema = site.data.schema
    spec = spec_of(share, config, schema, device)
    size = contribution_bytes(share.architecture, schema, share.counts, config, spec)
    phases = [Phase({site.client: contribution(share, config, schema, device)})]
    return Plan(
        images=len(site.data),
        clients=1,
        phases=phases,
        up=size,
        disk=size,
        largest=len(site.data),
        early_ends=early_ends(config),
        not_counted=not_counted([share.architecture]),
    )


def _drawing(spec: GeneratorSpec | None) -> str:
    """The family that draws a contribution's samples, of a merged generator the first one; "" without a generator."""
    return "" if spec is None else (spec.members[0] if spec.members else spec).family


def plan_distillation(
    contributions: Sequence[Contribution], config: Config, schema: Schema, student: str, test: int
) -> Plan:
    """The plan of `mosaic distill`."""
    contributors = [
        Contributor(c.architecture, _drawing(c.generator_spec), int(c.class_counts.sum())) for c in contributions
    ]
    told = next((c.moments.encoder for c in contributions if c.moments is not None), "")
    config = config.with_values({"moments.encoder": config.moments.encoder or told})
    work = distillation(config, schema, contributors, student, can_score=False)
    jobs = list(work.jobs)
    if test:
        jobs += [Job("figures", Unit("forward", global_name(student)), test), *outputs("figures", contributors, test)]
    size = model_bytes(student, schema)
    return Plan(
        images=test,
        clients=len(contributors),
        phases=[Phase(server=jobs)],
        down=size * len(contributors),
        disk=work.disk + size + 20_000,
        pools=work.pools,
        not_counted=not_counted([c.architecture for c in contributors if is_black_box(c.architecture)], student),
    )


def ceiling(shares: Sequence[Share], config: Config, student: str) -> list[Job]:
    """The reference of `run.centralised`: training of the student on all clients' data."""
    samples = sum(s.samples for s in shares)
    if is_closed_form(student):
        return []
    if is_boosted(student):
        return [Job("centralised", Unit("boost", student), samples)]
    validation = sum(s.validation for s in shares)
    longest = max(config.distill.steps, config.train.max_steps)
    settings = config.train.model_copy(update={"min_steps": config.distill.steps, "max_steps": longest})
    steps = steps_for(samples, settings)
    images = (ceil(steps / settings.check_every) + 1) * validation
    unit = Unit("train", student, rung(samples, settings.batch_size))
    return [Job("centralised", unit, steps), Job("centralised", Unit("forward", global_name(student)), images)]


def early_ends(config: Config) -> list[str]:
    """The reasons, in words, why a run may do fewer steps than its settings say."""
    return [PATIENCE] if config.train.patience and config.data.validation else []
