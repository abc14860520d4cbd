"""What a site says of its own audit of a contribution: the worst finding, and whether it took a risk."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from mosaic_fl.errors import UsageError

MOST_TEXT = 200
MOST_COUNT = 2**40


@dataclass(frozen=True)
class Audited:
    """The attack `attack` on the part `on` found most: an AUC with the 95 % interval `low`..`high`, beside a `limit`.

    `members` and `strangers` are the samples that were scored, and `basis` says who the strangers are. Where there was
    no audit, `attack` is empty, and `basis` says why. `accepted` is the site's reason to send what does not pass.
    """

    attack: str
    on: str
    auc: float
    low: float
    high: float
    limit: float
    members: int
    strangers: int
    basis: str
    accepted: str = ""

    @property
    def passes(self) -> bool:
        """Whether there was an audit, and it found no more than the limit."""
        return bool(self.attack) and self.high <= self.limit

    @property
    def summary(self) -> str:
        """The finding in words, as "passes: lira on the expert has an AUC of 0.54 (0.49 to 0.58), within 0.6"."""
        if not self.attack:
            return f"was not audited: {self.basis}"
        figures = f"{self.attack} on the {self.on} has an AUC of {self.auc:.2f} ({self.low:.2f} to {self.high:.2f})"
        return f"passes: {figures}, within {self.limit:g}" if self.passes else (
            f"does not pass: {figures}, above {self.limit:g}"
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> "Audited":
        """From JSON values that may come from anywhere; raises UsageError for anything else."""
        texts = ("attack", "on", "basis", "accepted")
        areas = ("auc", "low", "high", "limit")
        counts = ("members", "strangers")
        if not (
            isinstance(value, dict)
            and set(value) == {*texts, *areas, *counts}
            and all(isinstance(value[name], str) and len(value[name]) <= MOST_TEXT for name in texts)
            and all(value[name].isprintable() for name in texts)
            and all(type(value[name]) in (int, float) and isfinite(value[name]) for name in areas)
            and all(0 <= value[name] <= 1 for name in areas)
            and all(type(value[name]) is int and 0 <= value[name] <= MOST_COUNT for name in counts)
        ):
            raise UsageError("its statement of an audit is none")
        return cls(**value)


def audit_in(content: bytes) -> Audited | None:
    """What the bytes of a site's own contribution say of their audit; None where they say nothing."""
    from mosaic_fl.storage import container  # it imports torch, and the command reads this file first

    manifest, _ = container.unpack(content, "contribution", "its own contribution")
    return Audited.from_json(manifest["audit"]) if "audit" in manifest else None


def not_audited(reason: str, limit: float) -> Audited:
    """The statement that there was no audit, and why."""
    return Audited("", "", 0.0, 0.0, 1.0, limit, 0, 0, reason)


def require_reason(text: str) -> str:
    """The reason for taking a risk; raises UsageError for one that cannot be recorded."""
    plain = text.strip()
    if not plain or len(plain) > MOST_TEXT or not plain.isprintable():
        raise UsageError(f"--accept-risk: give a reason in one line of at most {MOST_TEXT} characters")
    return plain
