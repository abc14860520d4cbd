"""An attack in a federation: which clients lie, and what each of its hooks makes of their work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.attacks.attack import Attack, Scene
from mosaic_fl.config import Config
from mosaic_fl.config.attack_name import parse
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.states import State
from mosaic_fl.registries import ATTACKS


@dataclass(frozen=True, eq=False)
class Attackers:
    """The clients that lie by `attack`: those with the `liars` numbers, of all clients with the class `counts` (N, C).

    All is deterministic: a hook draws from the run's `seed` and its client's number alone.
    """

    attack: Attack
    liars: tuple[int, ...]
    counts: Tensor
    seed: int

    @classmethod
    def of(cls, text: str, datasets: Sequence[Dataset], seed: int) -> "Attackers":
        """The last clients lie, as many as `text` says; `datasets` are all clients'.

        Raises UsageError as `parse` does, and where no client would be honest.
        """
        name, many = parse(text)
        if many >= len(datasets):
            raise UsageError(f"attack {text}: of {len(datasets)} clients at most {len(datasets) - 1} can lie")
        liars = tuple(range(len(datasets) - many, len(datasets)))
        return cls(ATTACKS[name], liars, torch.stack([data.class_counts() for data in datasets]), seed)

    def scene(self, client: int) -> Scene:
        """What this attacker knows."""
        return Scene(client, self.liars, self.counts, self.seed)

    def poison(self, client: int, data: Dataset) -> Dataset:
        """The samples that a client trains on."""
        if client not in self.liars or self.attack.poison is None:
            return data
        return self.attack.poison(data, self.scene(client))

    def forge(self, contributions: Sequence[Contribution]) -> list[Contribution]:
        """What all clients send, from what they trained."""
        if self.attack.forge is None:
            return list(contributions)
        forge = self.attack.forge
        return [
            forge(own, contributions, self.scene(own.client)) if own.client in self.liars else own
            for own in contributions
        ]

    @property
    def line(self) -> str:
        """As "clients 8, 9 lie (label_flip): labels y → C−1−y"."""
        one = len(self.liars) == 1
        who = f"client{'s' * (not one)} {', '.join(map(str, self.liars))}"
        return f"{who} {'lies' if one else 'lie'} ({self.attack.name}): {self.attack.words}"

    def update(self, client: int, before: State, after: State) -> State:
        """The weights that a client sends in a round of averaging, which got `before` and has `after`."""
        if client not in self.liars or self.attack.update is None:
            return after
        return self.attack.update(before, after, self.scene(client))


def attackers_of(config: Config, datasets: Sequence[Dataset]) -> "Attackers | None":
    """The attackers of a configuration among clients with these data; None where all are honest.

    Raises UsageError as `Attackers.of` does.
    """
    return Attackers.of(config.run.attack, datasets, config.run.seed) if config.run.attack else None


def named() -> Mapping[str, str]:
    """The words of every attack, by name."""
    return {name: ATTACKS[name].words for name in ATTACKS}
