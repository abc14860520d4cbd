"""An audit as a table for the terminal, and as JSON."""

from typing import Any

from mosaic_fl.privacy.audit.finding import Audit, Finding
from mosaic_fl.privacy.audit.verdict import statement, verdict

NONE = "–"


def audit_lines(audit: Audit, limit: float) -> list[str]:
    """One line for each attack, one for each that does not apply, and the worst in a sentence."""
    width = max((len(finding.attack) for finding in audit.findings), default=6)
    place = max((len(finding.on) for finding in audit.findings), default=2)
    lines = [f"{'attack':{width}}  {'on':{place}}  AUC (95 %)         at 1 %  risk   verdict"] if audit.findings else []
    lines += [_line(finding, limit, width, place) for finding in audit.findings]
    lines += [f"{name}: not tried, {why}" for name, why in audit.skipped]
    worst = statement(audit, limit)
    return [*lines, "The contribution " + ("has nothing that can be scored" if worst is None else worst.summary)]


def audit_json(audit: Audit, limit: float) -> dict[str, Any]:
    """The audit as JSON values, with its limit and a verdict for each finding."""
    content = audit.to_json()
    for finding, row in zip(audit.findings, content["findings"], strict=True):
        row["verdict"] = verdict(finding, limit)
    worst = audit.worst
    return {**content, "limit": limit, "passes": worst is None or worst.high <= limit}


def _line(finding: Finding, limit: float, width: int, place: int) -> str:
    area = f"{finding.auc:.2f} ({finding.low:.2f}–{finding.high:.2f})"
    caught = NONE if finding.tpr_1 is None else f"{100 * finding.tpr_1:.0f} %"
    words = verdict(finding, limit)
    return f"{finding.attack:{width}}  {finding.on:{place}}  {area}  {caught:>6}  {finding.risk:5.2f}  {words}"
