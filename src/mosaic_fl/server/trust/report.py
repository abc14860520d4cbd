"""What the server holds of each contribution, and why: a value, as JSON values in a run's stage and result."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

ACCEPTED = "accepted"
WEIGHTED = "down-weighted"
QUARANTINED = "quarantined"


@dataclass(frozen=True)
class Verdict:
    """What follows for one client. `credit` is the part of its claimed samples that counts, by class, or one for all.

    `generator` says whether its generator is used. `model` and `samples` are the medians of how its model agrees with
    the others' samples, and their models with its samples, beyond chance, −1..1; None where nobody can tell.
    `witnesses` are the others who can tell. `reasons` are why it does not count in full, `doubts` what is said of it
    nevertheless; `unmeasured` is what could not be looked at, and why; `contradicted` whether
    others say otherwise, or its answers are none. Of the classes `sifted` each sample is held against other holders.
    """

    client: int
    state: str
    credit: tuple[float, ...]
    generator: bool = True
    model: float | None = None
    samples: float | None = None
    witnesses: int = 0
    reasons: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    unmeasured: str = ""
    contradicted: bool = False
    sifted: tuple[int, ...] = ()

    @property
    def in_full(self) -> bool:
        """Whether the contribution counts as it came."""
        return self.state == ACCEPTED


@dataclass(frozen=True)
class TrustReport:
    """The verdicts in the order of clients, and `usual`, the median agreement; None where nobody can tell."""

    verdicts: tuple[Verdict, ...]
    usual: float | None = None
    kept: tuple[int, ...] = field(default_factory=tuple)

    def of(self, client: int) -> Verdict:
        """The verdict on a client."""
        return next(verdict for verdict in self.verdicts if verdict.client == client)

    def in_state(self, state: str) -> list[Verdict]:
        """The verdicts with this state."""
        return [verdict for verdict in self.verdicts if verdict.state == state]

    @property
    def changes_nothing(self) -> bool:
        """Whether all contributions count as they came."""
        return all(verdict.in_full for verdict in self.verdicts)

    @property
    def sifted(self) -> dict[int, tuple[int, ...]]:
        """By client the classes of which each sample is looked at; clients without any are left out."""
        return {verdict.client: verdict.sifted for verdict in self.verdicts if verdict.sifted}

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "summary": summary(self),
            "usual_agreement": self.usual,
            "kept": list(self.kept),
            "quarantined": [v.client for v in self.in_state(QUARANTINED)],
            "down_weighted": [v.client for v in self.in_state(WEIGHTED)],
            "clients": [_row(verdict) for verdict in self.verdicts],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "TrustReport":
        """The inverse of `to_json`, for values of this program's own files."""
        lists = ("credit", "reasons", "doubts", "sifted")
        rows: list[dict[str, Any]] = [
            {key: tuple(v) if key in lists else v for key, v in row.items()} for row in value["clients"]
        ]
        return cls(tuple(Verdict(**row) for row in rows), value["usual_agreement"], tuple(value["kept"]))


def joined(reports: Sequence[TrustReport]) -> TrustReport:
    """One report on the clients of several, in their order; `usual` is the median of those who can tell."""
    rows = sorted((verdict for report in reports for verdict in report.verdicts), key=lambda verdict: verdict.client)
    usual = [report.usual for report in reports if report.usual is not None]
    kept = sorted(client for report in reports for client in report.kept)
    return TrustReport(tuple(rows), median(usual) if usual else None, tuple(kept))


def _row(verdict: Verdict) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(verdict).items()}


def verdict_lines(report: TrustReport) -> list[str]:
    """A line for each client that does not count in full, or of which something is said."""
    return [line for verdict in report.verdicts for line in lines_of(verdict)]


def lines_of(verdict: Verdict) -> list[str]:
    """What is said of one client: nothing where it counts in full, and nobody doubts it."""
    who = f"client {verdict.client}"
    doubts = [f"{who}: {'; '.join(verdict.doubts)}"] if verdict.doubts else []
    if verdict.in_full:
        return doubts
    words = "is in quarantine" if verdict.state == QUARANTINED else "counts in part"
    return [f"{who} {words}: {'; '.join(verdict.reasons)}", *doubts]


def summary(report: TrustReport) -> str:
    """One line, as "8 of 10 clients count in full, 1 in part (client 3), 1 is in quarantine (client 7)"."""
    full = len(report.in_state(ACCEPTED))
    parts = [f"{full} of {len(report.verdicts)} clients count{'s' * (full == 1)} in full"]
    for state, words in ((WEIGHTED, "in part"), (QUARANTINED, "in quarantine")):
        if clients := [verdict.client for verdict in report.in_state(state)]:
            parts.append(f"{len(clients)} {words} ({_names(clients)})")
    return ", ".join(parts)


def _names(clients: Sequence[int]) -> str:
    return f"client{'s' * (len(clients) > 1)} {', '.join(map(str, clients))}"
