"""The outcome of an audit, as a value and as JSON."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from mosaic_fl.errors import UsageError
from mosaic_fl.privacy.audit.figures import Estimate

TEXTS = ("attack", "on")
NUMBERS = ("auc", "low", "high", "risk", "risk_low", "risk_high", "seconds")
RATES = ("tpr_1", "tpr_01")
COUNTS = ("members", "strangers")
MOST_FINDINGS = 100
MOST_TEXT = 60
MOST_COUNT = 2**40


@dataclass(frozen=True)
class Finding:
    """How well one attack tells members from strangers.

    `on` is the part that it attacks. `auc` has the 95 % interval `low`..`high`; 0.5 tells nothing. `tpr_1` and
    `tpr_01` are the shares of members caught at 1 % and 0.1 % false alarms; None: too few strangers to say. `risk` is
    (attack − control)/(1 − control), with its interval. `members` and `strangers` are the samples that were scored.
    """

    attack: str
    on: str
    auc: float
    low: float
    high: float
    tpr_1: float | None
    tpr_01: float | None
    risk: float
    risk_low: float
    risk_high: float
    members: int
    strangers: int
    seconds: float = 0.0

    @property
    def area(self) -> Estimate:
        """The AUC with its interval."""
        return Estimate(self.auc, self.low, self.high)

    @classmethod
    def from_json(cls, value: object) -> "Finding":
        """From JSON values that may come from anywhere; raises UsageError for anything but a finding."""
        names = {*TEXTS, *NUMBERS, *RATES, *COUNTS}
        if not isinstance(value, dict) or set(value) != names:
            raise UsageError("an audit's finding does not have its figures")
        texts = all(isinstance(value[name], str) and 0 < len(value[name]) <= MOST_TEXT for name in TEXTS)
        plain = texts and all(value[name].isprintable() for name in TEXTS)
        numbers = all(_is_number(value[name]) for name in NUMBERS)
        rates = all(value[name] is None or _is_number(value[name]) for name in RATES)
        counts = all(type(value[name]) is int and 0 <= value[name] <= MOST_COUNT for name in COUNTS)
        if not (plain and numbers and rates and counts):
            raise UsageError("an audit's finding has figures of another kind")
        if not 0 <= value["low"] <= value["auc"] <= value["high"] <= 1:
            raise UsageError("an audit's finding has an AUC outside its interval, or outside 0..1")
        return cls(**value)


@dataclass(frozen=True)
class Audit:
    """What all attacks found, one finding each. `skipped` says which attacks did not apply, and why.

    `basis` says in words who the strangers are.
    """

    findings: tuple[Finding, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    basis: str = ""

    @property
    def worst(self) -> Finding | None:
        """The finding whose AUC may be largest: by the upper end of its interval. None where no attack applies."""
        return max(self.findings, key=lambda finding: finding.high, default=None)

    @property
    def seconds(self) -> float:
        """The seconds of all attacks."""
        return sum(finding.seconds for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`."""
        skipped = dict(self.skipped)
        return {"basis": self.basis, "findings": [asdict(finding) for finding in self.findings], "skipped": skipped}

    @classmethod
    def from_json(cls, value: object) -> "Audit":
        """From JSON values that may come from anywhere; raises UsageError for anything but an audit."""
        match value:
            case {"basis": str(basis), "findings": list(findings), "skipped": dict(skipped)} if (
                len(findings) <= MOST_FINDINGS
                and len(skipped) <= MOST_FINDINGS
                and all(_is_line(text) for text in (basis or "-", *skipped, *skipped.values()))
            ):
                return cls(tuple(map(Finding.from_json, findings)), tuple(skipped.items()), basis)
        raise UsageError("an audit has a basis, findings, and what was skipped")


def _is_line(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= 4 * MOST_TEXT and text.isprintable()


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and isfinite(value)  # type: ignore[arg-type]
