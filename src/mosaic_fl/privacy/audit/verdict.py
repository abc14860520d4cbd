"""What an audit means, beside a limit: each finding in words, and the worst as a statement."""

from mosaic_fl.exchange.audited import Audited
from mosaic_fl.privacy.audit.finding import Audit, Finding

CHANCE = 0.5


def verdict(finding: Finding, limit: float) -> str:
    """One of four: within the limit, above it for certain, above chance, or open for lack of samples."""
    if finding.high <= limit:
        return "within the limit"
    if finding.low > limit:
        return "tells members from strangers"
    if finding.low > CHANCE:
        return "tells something of members"
    return "open: too few samples to say"


def statement(audit: Audit, limit: float) -> Audited | None:
    """The worst finding as a contribution says it; None where no attack applies."""
    worst = audit.worst
    if worst is None:
        return None
    return Audited(
        worst.attack,
        worst.on,
        worst.auc,
        worst.low,
        worst.high,
        limit,
        worst.members,
        worst.strangers,
        audit.basis,
    )
