"""The plan of a command: of a run, of one contribution, of a distillation, of a comparison."""

from collections.abc import Sequence
from math import ceil

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.local import worker_count
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.training import steps_for
from mosaic_fl.forecast.clients import Share, contribution, rung, share_of, spec_of
from mosaic_fl.forecast.methods import Federated, count
from mosaic_fl.forecast.server import Contributor, distillation, outputs
from mosaic_fl.forecast.sizes import contribution_bytes, model_bytes
from mosaic_fl.forecast.work import Job, Phase, Plan, Unit
from mosaic_fl.runs.runner import RunSetup

PICTURES = 250_000  # bytes of a run's pictures, its result, its settings and its curves
DRAWING = 1.5  # seconds for them
PATIENCE = "training may stop early (train.patience)"


def plan_run(prepared: RunSetup) -> Plan:
    """The plan of `mosaic run`."""
    config = prepared.config
    splits = prepared.splits
    shares = [share_of(site, config) for site in prepared.sites]
    schema = splits.train.schema
    student = prepared.student
    device = prepared.device
    counted = count(Federated(shares, schema, config, student, device, len(splits.test)))
    last = Phase(server=[Job("pictures", Unit("fixed"), DRAWING)])
    behind = list[Job]()
    if config.run.centralised:
        behind = ceiling(shares, config, student)
        counted.disk += model_bytes(student, schema)
        last = Phase(server=[*last.server, Job("figures", Unit("forward", student), len(splits.test))])
    return Plan(
        images=len(splits.train) + len(splits.test),
        clients=len(shares),
        phases=[*counted.phases, last],
        workers=worker_count(config.run.workers, len(shares), device),
        behind=behind,
        up=round(counted.up),
        down=round(counted.down),
        disk=counted.disk + PICTURES,
        pools=counted.pools,
        largest=max(len(site.data) for site in prepared.sites),
        unknown=unknown(config),
    )


def plan_contribution(site: Site, config: Config, device: torch.device) -> Plan:
    """The plan of `mosaic contribute`."""
    share = share_of(site, config)
    schema = site.data.schema
    spec = spec_of(share, config, schema, device)
    size = contribution_bytes(share.architecture, schema, share.counts, config.prototypes, spec)
    phases = [Phase({site.client: contribution(share, config, schema, device)})]
    return Plan(len(site.data), 1, phases, up=size, disk=size, largest=len(site.data), unknown=unknown(config))


def plan_distillation(
    contributions: Sequence[Contribution], config: Config, schema: Schema, student: str, test: int
) -> Plan:
    """The plan of `mosaic distill`."""
    contributors = [
        Contributor(c.architecture, c.generator_spec.family if c.generator_spec else "", int(c.class_counts.sum()))
        for c in contributions
    ]
    work = distillation(config, schema, contributors, student, judged=False)
    jobs = list(work.jobs)
    if test:
        jobs += [Job("figures", Unit("forward", student), test), *outputs("figures", contributors, test)]
    size = model_bytes(student, schema)
    return Plan(
        images=test,
        clients=len(contributors),
        phases=[Phase(server=jobs)],
        down=size * len(contributors),
        disk=work.disk + size + 20_000,
        pools=work.pools,
    )


def ceiling(shares: Sequence[Share], config: Config, student: str) -> list[Job]:
    """The training of the student on all clients' data."""
    samples = sum(s.samples for s in shares)
    held = sum(s.held for s in shares)
    longest = max(config.distill.steps, config.train.max_steps)
    settings = config.train.model_copy(update={"min_steps": config.distill.steps, "max_steps": longest})
    steps = steps_for(samples, settings)
    looks = (ceil(steps / settings.check_every) + 1) * held
    unit = Unit("train", student, rung(samples, settings.batch_size))
    return [Job("centralised", unit, steps), Job("centralised", Unit("forward", student), looks)]


def unknown(config: Config) -> list[str]:
    """Why less may be done than what the settings say, in words."""
    return [PATIENCE] if config.train.patience and config.data.validation else []
