"""A federation some of whose clients lie: what they forge is put between an engine and a method."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mosaic_fl.attacks.attackers import Attackers
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, Start


class AttackedFederation:
    """The `federation`, whose contributions and updates `attackers` forge on their way to the method.

    The engine keeps what the clients have trained, on data that are poisoned already. So the number of workers and a
    resume change nothing, and answers are shared among the methods of a comparison.
    """

    def __init__(self, federation: Any, attackers: Attackers) -> None:
        self.federation = federation
        self.attackers = attackers

    def contribute(self, start: Mapping[int, Start] | None = None) -> list[Contribution]:
        """Every client's contribution, those of liars forged."""
        return self.attackers.forge(self.federation.contribute(start))

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The weights after each client's job, those of liars changed."""
        before = {job.client: job.state for job in jobs}
        return [
            replace(fitted, state=self.attackers.update(fitted.client, dict(before[fitted.client]), fitted.state))
            for fitted in self.federation.fit(jobs, round)
        ]

    def __getattr__(self, name: str) -> Any:
        """All other calls are the federation's."""
        return getattr(self.federation, name)


def attacked(federation: Any, attackers: Attackers | None) -> Any:
    """The federation with its attackers; itself where all clients are honest."""
    return federation if attackers is None else AttackedFederation(federation, attackers)
