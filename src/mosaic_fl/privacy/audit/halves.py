"""Audits of contributions of two halves of a site, as one: each half is the other one's strangers."""

import math
from collections.abc import Sequence
from dataclasses import replace

from mosaic_fl.privacy.audit.figures import Estimate
from mosaic_fl.privacy.audit.finding import Audit, Finding


def mean_of(audits: Sequence[Audit], basis: str) -> Audit:
    """The mean of each finding that all `audits` have; what one of them skipped is skipped."""
    by_name = [{finding.attack: finding for finding in audit.findings} for audit in audits]
    shared = [name for name in by_name[0] if all(name in findings for findings in by_name)]
    skipped = {name: why for audit in audits for name, why in audit.skipped}
    findings = tuple(_mean([findings[name] for findings in by_name]) for name in shared)
    return Audit(findings, tuple(skipped.items()), basis)


def mean_estimate(parts: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, with an interval made of theirs (MOVER, Zou & Donner 2008, equation 8)."""
    count = len(parts)
    value = sum(part.value for part in parts) / count
    below = math.hypot(*(part.value - part.low for part in parts)) / count
    above = math.hypot(*(part.high - part.value for part in parts)) / count
    return Estimate(value, value - below, value + above)


def _mean(findings: Sequence[Finding]) -> Finding:
    area = mean_estimate([finding.area for finding in findings])
    risk = mean_estimate([Estimate(f.risk, f.risk_low, f.risk_high) for f in findings])
    return replace(
        findings[0],
        auc=area.value,
        low=max(0.0, area.low),
        high=min(1.0, area.high),
        risk=risk.value,
        risk_low=max(-1.0, risk.low),
        risk_high=min(1.0, risk.high),
        tpr_1=_mean_rate([finding.tpr_1 for finding in findings]),
        tpr_01=_mean_rate([finding.tpr_01 for finding in findings]),
        members=sum(finding.members for finding in findings),
        strangers=sum(finding.strangers for finding in findings),
        seconds=sum(finding.seconds for finding in findings),
    )


def _mean_rate(rates: Sequence[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if len(known) == len(rates) else None
