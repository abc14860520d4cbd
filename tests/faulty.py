"""A real federation whose answers get lost, and what its tests have in common."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, GrowJob, Start, SumJob
from mosaic_fl.numerics.states import State
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
QUESTIONS = ("contribute", "fit", "boost", "statistics", "evaluate", "fit_fusion")
Lost = Collection[tuple[str, int, int | None]]
"""(question, client, round); None is every round."""

QUICK = {
    "run.workers": 1, "train.min_steps": 2, "train.max_steps": 2, "train.check_every": 2, "data.validation": 0.2,
    "generator.steps": 2, "generator.latent": 4, "generator.width": 4, "distill.pool": 32, "distill.steps": 2,
    "distill.batch_size": 16, "meta.steps": 2, "meta.samples": 32, "synthesis.epochs": 1,
    "synthesis.generator_steps": 1, "synthesis.student_steps": 1, "synthesis.batch_size": 16, "synthesis.latent": 4,
    "synthesis.width": 4, "rounds.warm_up": 2, "rounds.steps": 2, "models.student": "mlp:4:1",
    "distill.terms": 1, "boosting.depth": 2, "distill.choose": False,
}  # fmt: skip


class FaultyFederation(LocalFederation):
    """The local engine, without the answers in `lost`.

    Questions that have no round count how often they were asked before. As any engine it raises MosaicError where
    nobody contributes or fits. `jobs` are those of each `fit`, `answered` the clients that did, by question and round.
    """

    def __init__(
        self, sites: Sequence[Site], config: Config, device: torch.device, journal: Journal, lost: Lost = ()
    ) -> None:
        super().__init__(sites, config, device, journal)
        self.lost, self.asked = frozenset(lost), Counter[str]()
        self.jobs: list[list[FitJob]] = []
        self.answered: dict[tuple[str, int], list[int]] = {}

    def there(self, question: str, clients: Sequence[int], round: int | None = None) -> list[int]:
        """Those of `clients` whose answers will come."""
        at = self.asked[question] if round is None else round
        self.asked[question] += 1
        here = [k for k in clients if not {(question, k, None), (question, k, at)} & self.lost]
        self.answered[question, at] = here
        if not here and question in ("contribute", "fit", "boost"):
            raise MosaicError(f"{question}: 0 of {len(clients)} clients answered, and 1 is the least")
        return here

    @property
    def everyone(self) -> range:
        return range(len(self.sites))

    def contribute(self, start: Mapping[int, Start] | None = None, **how: Any) -> list[Contribution]:
        here = self.there("contribute", self.everyone)
        return [c for c in super().contribute(start, **how) if c.client in here]

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        self.jobs.append(list(jobs))
        here = self.there("fit", [job.client for job in jobs], round)
        return super().fit([job for job in jobs if job.client in here], round)

    def boost(self, job: GrowJob | SumJob, clients: Sequence[int], round: int) -> list[Fitted]:
        return super().boost(job, self.there("boost", clients, round), round)

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        here = self.there("statistics", self.everyone)
        return [answer for answer in super().statistics(architecture, state) if answer.client in here]

    def evaluate(
        self, architecture: str, state: State, clients: Sequence[int] | None = None, *, losses: bool = False
    ) -> list[Tensor]:
        here = self.there("evaluate", self.everyone if clients is None else clients)
        return super().evaluate(architecture, state, here, losses=losses)

    def fit_fusion(
        self,
        contributions: Sequence[Contribution],
        state: State,
        clients: Sequence[int],
        settings: Mapping[str, Any],
        round: int,
    ) -> list[Fitted]:
        here = self.there("fit_fusion", clients, round)
        return super().fit_fusion(contributions, state, here, settings, round)


def everywhere(client: int) -> Lost:
    """All answers of `client`."""
    return [(question, client, None) for question in QUESTIONS]


def nobody(*questions: str) -> Lost:
    """All answers to these questions, of three clients."""
    return [(question, client, None) for question in questions for client in range(3)]


def three(
    digits: Dataset, lost: Lost = (), journal: Journal | None = None, models: Sequence[str] = (), **more: Any
) -> FaultyFederation:
    """Clients of 40, 60 and 80 digits, of `models` or alike."""
    config = Config().with_values({**QUICK, **{k.replace("_", ".", 1): v for k, v in more.items()}})
    specs = models or ["mlp:4:1"] * 3
    sites = [Site(k, digits.subset(range(100 * k, 100 * k + 40 + 20 * k)), specs[k]) for k in range(3)]
    return FaultyFederation(sites, config, CPU, journal or Journal(), lost)


def same(one: State, other: State) -> bool:
    """Whether two states are the same, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
