"""What an attack by a client is: changes to its data, to its contribution, or to its update of a round."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State


@dataclass(frozen=True, eq=False)
class Scene:
    """All that one attacker knows beside its own data, which is the worst case for the others.

    `client` is its number, `liars` are the numbers of all attackers, `counts` int64 (N, C) the samples of every client
    by class. `seed` is that of the run.
    """

    client: int
    liars: tuple[int, ...]
    counts: Tensor
    seed: int

    @property
    def stream(self) -> Stream:
        """The random stream of this attacker."""
        return Stream(self.seed, "attack", self.client)

    @property
    def shared(self) -> Stream:
        """The random stream that all attackers have agreed on."""
        return Stream(self.seed, "attack")

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.counts.shape[1]


Poison = Callable[[Dataset, Scene], Dataset]
"""(the client's samples, what it knows) -> the samples that it trains on."""
Forge = Callable[[Contribution, Sequence[Contribution], Scene], Contribution]
"""(the client's contribution, all clients' before any was forged, what it knows) -> what it sends."""
Update = Callable[[State, State, Scene], State]
"""(the weights that a client got, those after its training, what it knows) -> the weights that it sends."""


@dataclass(frozen=True)
class Attack:
    """An attack: `words` say what it does.

    `poison` changes data before training, `forge` a contribution, `update` the weights of a round of averaging. An
    attack that `needs` networks changes their weights, so all attackers' models must be networks; one that `needs`
    pictures, a generator or moments changes those.
    """

    name: str
    words: str
    poison: Poison | None = None
    forge: Forge | None = None
    update: Update | None = None
    needs: frozenset[str] = frozenset()
