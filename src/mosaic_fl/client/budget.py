"""The ledger of a site: ε and δ of all that left of its data, added up, against the budgets of its own file.

Sums are sound for any mechanisms, also such as were chosen by what earlier ones told (basic composition, Dwork & Roth
2014, theorem 3.16, and corollary B.2).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.errors import RefusalError
from mosaic_fl.exchange.privacy import Statement

SLACK = 1e-9  # of a sum of decimal fractions


@dataclass(frozen=True)
class Spending:
    """The sums of ε and δ over `releases` with differential privacy; `open` are those that left without any."""

    epsilon: float
    delta: float
    releases: int
    open: int = 0

    @property
    def summary(self) -> str:
        """As "ε = 3, δ = 2e-05 in 2 releases"."""
        if self.open and not self.releases:
            return f"{self.open} release{'s' * (self.open != 1)} without differential privacy"
        text = f"ε = {self.epsilon:g}, δ = {self.delta:g} in {self.releases} release{'s' * (self.releases != 1)}"
        return f"{text}, and {self.open} without differential privacy" if self.open else text


def spending(lines: Sequence[Mapping[str, Any]]) -> Spending:
    """What has left by the `lines` of a site's log, and its cost; what follows from one draw of noise costs once."""
    each = {line.get("draw"): line for line in lines if not line.get("empty")}.values()
    private = [line for line in each if "epsilon" in line]
    return Spending(
        float(sum(line["epsilon"] for line in private)),
        float(sum(line["delta"] for line in private)),
        len(private),
        len(each) - len(private),
    )


def spend(statement: Statement | None, lines: Sequence[Mapping[str, Any]], draw: str, limits: SiteLimits) -> Spending:
    """The spending after something leaves with its `statement`; raises RefusalError where a budget does not allow it.

    `draw` names the draw of its noise; `lines` are those of what left before.
    """
    before = spending(lines)
    if statement is None or any(line.get("draw") == draw for line in lines):
        return before
    after = Spending(
        before.epsilon + statement.epsilon, before.delta + statement.delta, before.releases + 1, before.open
    )
    for name, letter in (("epsilon", "ε"), ("delta", "δ")):
        most = getattr(limits, name)
        spent = getattr(before, name)
        if most is not None and getattr(after, name) > most * (1 + SLACK):
            left = max(most - spent, 0.0)
            times = f"{before.releases} release{'s' * (before.releases != 1)}"
            raise RefusalError(
                f"limits.{name} = {most:g}: {spent:g} is spent in {times}, {left:g} is left, and this one has "
                f"{letter} = {getattr(statement, name):g}"
            )
    return after
