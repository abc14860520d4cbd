"""The ledger of a site: what all that left of its data has cost in ε and δ, against the budgets of its own file.

Sums of ε and of δ are sound for any mechanisms, also such as were chosen by what earlier ones told (basic composition,
Dwork & Roth 2014, theorem 3.16, and corollary B.2). Where each release is one of the Gaussian mechanism they compose
exactly: releases of μᵢ are together one of μ = √Σμᵢ² (Dong, Roth & Su 2022, corollary 3.3), of which any ε has the δ of
Balle & Wang (2018, theorem 8). The multiplier of a release's noise, 1/μ, follows from its ε and δ by the same theorem.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from typing import Any

from mosaic_fl.config.site_limits import SiteLimits
from mosaic_fl.errors import RefusalError
from mosaic_fl.exchange.privacy import Statement
from mosaic_fl.numerics.gaussian_mechanism import epsilon_of, noise_multiplier

SLACK = 1e-9  # of a sum of decimal fractions
GAUSSIAN = "contribution"
"""The kind of a release whose noise is Gaussian: class moments, where it has no parts of its own (DP-SGD)."""


@dataclass(frozen=True)
class Spending:
    """The ε and δ of `releases` with differential privacy together; `open` are those that left without any.

    `exact`: they are composed as Gaussian releases; else ε and δ are sums.
    """

    epsilon: float
    delta: float
    releases: int
    open: int = 0
    exact: bool = False

    @property
    def summary(self) -> str:
        """As "ε = 3, δ = 2e-05 in 2 releases"."""
        if self.open and not self.releases:
            return f"{self.open} release{'s' * (self.open != 1)} without differential privacy"
        text = f"ε = {self.epsilon:.6g}, δ = {self.delta:g} in {self.releases} release{'s' * (self.releases != 1)}"
        return f"{text}, and {self.open} without differential privacy" if self.open else text


def spending(lines: Sequence[Mapping[str, Any]], delta: float | None = None) -> Spending:
    """What has left by the `lines` of a site's log, and its cost; what follows from one draw of noise costs once.

    With a `delta` ε is told at that δ where the sum of all δ is larger, and the releases compose exactly.
    """
    each = {line.get("draw"): line for line in lines if not line.get("empty")}.values()
    private = [line for line in each if "epsilon" in line]
    count = len(private)
    sums = (fsum(line["epsilon"] for line in private), fsum(line["delta"] for line in private))
    unprotected = len(each) - count
    if (count < 2 and (delta is None or sums[1] <= delta)) or not private or not all(map(_is_gaussian, private)):
        return Spending(*sums, count, unprotected)
    target = sums[1] if delta is None else min(delta, sums[1])
    mu = sqrt(fsum(noise_multiplier(line["epsilon"], line["delta"]) ** -2 for line in private))
    exact = epsilon_of(target, 1 / mu)
    if target == sums[1]:
        exact = min(exact, sums[0])
    return Spending(exact, target, count, unprotected, exact=True)


def spend(
    statement: Statement | None, lines: Sequence[Mapping[str, Any]], draw: str, limits: SiteLimits, kind: str
) -> Spending:
    """The spending after something of this `kind` leaves with its `statement`; raises RefusalError beyond a budget.

    `draw` names the draw of its noise; `lines` are those of what left before.
    """
    delta = None if limits.epsilon is None else limits.delta  # a budget of δ alone is one of the sum
    before = spending(lines, delta)
    if statement is None or any(line.get("draw") == draw for line in lines):
        return before
    after = spending([*lines, {"kind": kind, "draw": draw, **statement.to_json()}], delta)
    for name, letter in (("epsilon", "ε"), ("delta", "δ")):
        most = getattr(limits, name)
        if most is not None and getattr(after, name) > most * (1 + SLACK):
            times = f"{before.releases} release{'s' * (before.releases != 1)}"
            raise RefusalError(
                f"limits.{name} = {most:g}: {getattr(before, name):.4g} is spent in {times}, and with this one of "
                f"{letter} = {getattr(statement, name):g} it would be {getattr(after, name):.4g}"
            )
    return after


def _is_gaussian(line: Mapping[str, Any]) -> bool:
    return line.get("kind") == GAUSSIAN and not line.get("parts")
