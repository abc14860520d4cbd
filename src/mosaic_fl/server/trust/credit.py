"""The contributions that count: without those in quarantine, and with as many samples of each class as are credited.

Weights of experts, draws of generators and the gate all follow from class counts, and class moments count in the same
part. A credited count is never 0 where something is credited. Of a class of which nothing is credited no prototype
counts. What an expert saw how often (its prior) stays as its client said.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mosaic_fl.exchange.contribution import Contribution, Prototypes
from mosaic_fl.generators.moments.part import part_of
from mosaic_fl.server.class_moments import tells
from mosaic_fl.server.trust.report import QUARANTINED, TrustReport, Verdict


def credited(contributions: Sequence[Contribution], report: TrustReport) -> list[Contribution]:
    """The contributions that count; one that counts in full is the same object."""
    verdicts = {verdict.client: verdict for verdict in report.verdicts}
    pairs = [(c, verdicts[c.client]) for c in contributions]
    return [_credited(c, verdict) for c, verdict in pairs if verdict.state != QUARANTINED]


def _credited(contribution: Contribution, verdict: Verdict) -> Contribution:
    if verdict.in_full:
        return contribution
    credit = torch.tensor(verdict.credit, dtype=torch.float64)
    fields = contribution.field_counts
    result = replace(
        contribution,
        class_counts=_part(contribution.class_counts, credit),
        field_counts=None if fields is None else _part(fields, credit),
        prototypes=_of_credited(contribution.prototypes, credit.expand(len(contribution.class_counts))),
    )
    result = _with_moments(result, credit)
    if verdict.generator or contribution.generator is None:
        return result
    note = "left out: the others contradict its samples"
    return replace(result, generator=None, generator_spec=None, generator_note=note)


def _with_moments(contribution: Contribution, credit: Tensor) -> Contribution:
    """The contribution with as much of its class moments as is credited."""
    credit = credit.expand(len(contribution.class_counts))
    if tells(contribution) and contribution.generator is not None:
        contribution = replace(contribution, generator=part_of(contribution.generator, credit))
    if (told := contribution.moments) is not None:
        contribution = replace(contribution, moments=replace(told, state=part_of(told.state, credit)))
    return contribution


def _of_credited(prototypes: Prototypes, credit: Tensor) -> Prototypes:
    """The prototypes of classes of which something is credited (C,)."""
    counts = credit[prototypes.labels] > 0
    return Prototypes(prototypes.features[counts], prototypes.labels[counts], prototypes.sizes[counts])


def _part(counts: Tensor, credit: Tensor) -> Tensor:
    """Credited counts (…, C): rounded up, so that those of fields still cover those of classes."""
    return (counts.double() * credit - 1e-6).ceil().clamp(min=0).long()
