"""What a finding means, in words, beside a limit."""

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


def sentence(audit: Audit, limit: float) -> str:
    """The worst finding in one sentence."""
    worst = audit.worst
    if worst is None:
        return "no attack applies: nothing that it holds can be scored"
    figures = f"{worst.attack} on the {worst.on} has an AUC of {worst.auc:.2f} ({worst.low:.2f} to {worst.high:.2f})"
    if worst.high <= limit:
        return f"passes: {figures}, within {limit:g}"
    return f"does not pass: {figures}, above {limit:g}"
