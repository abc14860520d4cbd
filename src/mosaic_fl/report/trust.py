"""The lines about who counts in a run, and why somebody does not."""

from collections.abc import Mapping
from typing import Any

from mosaic_fl.server.trust.report import TrustReport, summary, verdict_lines


def trust_lines(result: Mapping[str, Any]) -> list[str]:
    """A summary and a line for each doubt; nothing where there was no doubt, or no defence.

    `result` is the content of `result.json`.
    """
    told = (result.get("choice") or {}).get("trust")
    if told is None:
        return []
    report = TrustReport.from_json(told)
    doubts = verdict_lines(report)
    if not doubts:
        return []
    return [f"Trust: {summary(report)} (docs/trust.md)", *(f"  {line}" for line in doubts)]
