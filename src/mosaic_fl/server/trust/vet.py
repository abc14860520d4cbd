"""The stage `trust` of a distillation: which contributions count, and how much, before anything is made of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from mosaic_fl.config import Config
from mosaic_fl.config.model_names import CLOSED_FORMS
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.closed_form import network_of
from mosaic_fl.experts.kind import Expert
from mosaic_fl.notes import note
from mosaic_fl.server.class_moments import tells
from mosaic_fl.server.joining import sampler_of
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.teachers import MOMENTS
from mosaic_fl.server.trust.circles import circles
from mosaic_fl.server.trust.copies import sharers
from mosaic_fl.server.trust.judgement import judge
from mosaic_fl.server.trust.moments import moment_doubts
from mosaic_fl.server.trust.report import QUARANTINED, TrustReport, joined, verdict_lines
from mosaic_fl.server.trust.survey import draws_classes, survey
from mosaic_fl.server.trust.told import told_by
from mosaic_fl.server.trust.trigger import with_triggers
from mosaic_fl.server.trust.verdicts import Evidence, verdicts
from mosaic_fl.storage.files import write_atomic
from mosaic_fl.storage.journal import Journal

STAGE = "trust"
QUARANTINE = "quarantine"  # a folder in that of a run
NOBODY_DRAWS = "no generator among these draws a class that it is asked for"


def examine(
    contributions: Sequence[Contribution],
    experts: Sequence[Expert],
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
) -> TrustReport:
    """The report on `contributions`, which agree in their schema and are in the order of their clients.

    `experts` are theirs, and `sampler` gives the sampler of their generators, which is not asked where there are none.
    """
    shared = sharers(contributions)
    doubts = moment_doubts(told_by(contributions), contributions[0].schema.classes)
    faults = {k: f"its class moments: {reason}" for k, reason in doubts.faults.items()}
    everyone = Evidence(contributions, shared, None, faults, {}, doubts)
    if len(contributions) < 2 or _follow_from_moments(contributions, config):
        return verdicts(everyone, config.trust)
    groups = circles(len(contributions), config.run.seed)
    reports = list[TrustReport]()
    unseen = 0
    for places in groups:
        part = everyone.of(places) if len(groups) > 1 else everyone
        own = [experts[k] for k in places]
        if not any(map(draws_classes, part.contributions)):
            unseen += len(places)
            part = replace(part, remarks=dict.fromkeys(range(len(places)), NOBODY_DRAWS))
        else:
            among = sampler_of(part.contributions, device, own) if len(groups) > 1 else sampler()
            part = _witnessed(part, own, among, config, device)
        reports.append(verdicts(part, config.trust))
    if unseen:
        note(f"{unseen} of {len(contributions)} clients are compared with nobody: {NOBODY_DRAWS}")
    return joined(reports)


def _witnessed(
    evidence: Evidence, experts: Sequence[Expert], sampler: Sampler, config: Config, device: torch.device
) -> Evidence:
    """The evidence with what all its clients say of each other's samples."""
    counts = evidence.counts
    faults = evidence.faults
    seen = with_triggers(survey(sampler, experts, counts, config.run.seed, device), experts, device)
    faults |= seen.faults
    # Who claims too much, or sends what another one sends, is less of a witness, too.
    sizes = evidence.sizes
    trust = (sizes / torch.tensor(evidence.shared, dtype=torch.float64))[:, None].expand(counts.shape).clone()
    trust[sorted(faults.keys() | evidence.moments.liars.keys())] = 0
    judgement = judge(seen, trust, sizes < 1)
    return replace(evidence, judgement=judgement, faults=faults, remarks=seen.remarks)


def _follow_from_moments(contributions: Sequence[Contribution], config: Config) -> bool:
    """Whether class moments alone teach the global model: then no expert is asked to name generators' samples.

    An expert that follows from moments of few classes knows no others, and says nothing that its moments do not.
    """
    closed = {network_of(name) for name in CLOSED_FORMS}
    by_moments = all(map(tells, filter(draws_classes, contributions)))
    by_moments &= all(c.architecture in closed for c in contributions)
    return by_moments and config.distill.teacher in ("auto", MOMENTS)


def vet(
    contributions: Sequence[Contribution],
    experts: Sequence[Expert],
    sampler: Callable[[], Sampler],
    config: Config,
    device: torch.device,
    journal: Journal,
) -> TrustReport | None:
    """The report of a run's stage, with a note for all that it holds against a client; None without the defence.

    Raises MosaicError where no contribution is left: the stages stay.
    """
    if not config.trust.defence:
        return None
    stage = journal.stage(STAGE, lambda _: ({}, examine(contributions, experts, sampler, config, device).to_json()))
    report = TrustReport.from_json(stage.info)
    _write_quarantine(journal, report)
    for line in verdict_lines(report):
        note(line)
    if absent := sorted(set(config.trust.keep) - {c.client for c in contributions}):
        note(f"trust.keep names client {absent[0]}, who sent nothing")
    if len(report.in_state(QUARANTINED)) == len(contributions):
        raise MosaicError(
            f"all {len(contributions)} contributions are in quarantine, so nothing is left to distil: "
            f"{'; '.join(verdict_lines(report))}; --keep CLIENT --resume counts one nevertheless"
        )
    return report


def _write_quarantine(journal: Journal, report: TrustReport) -> None:
    """A file with the reasons for each contribution that does not count, in the run's folder; itself it stays there."""
    for verdict in report.in_state(QUARANTINED) if journal.folder is not None else ():
        assert journal.folder is not None
        content = {
            "client": verdict.client,
            "reasons": list(verdict.reasons),
            "way_out": f"--keep {verdict.client} counts it nevertheless",
        }
        place = journal.folder / QUARANTINE / f"client-{verdict.client:03d}.json"
        write_atomic(place, json.dumps(content, indent=2) + "\n")
