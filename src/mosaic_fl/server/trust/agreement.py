"""How clients agree: what a client's expert calls the others' samples, and what the others' experts call its own.

An expert has a say in a class as far as its client claims samples of it. A say is n / (n + `HALFWAY`), and less of a
class that is rare at its client: large claims bring no more, so inflated ones bring nothing. All shares are beyond
chance, as Cohen's kappa (1960): 0 for guessing among all classes, 1 where all are called what they were drawn as.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mosaic_fl.server.trust.survey import Survey

RARE = 0.25  # of a client's largest class: it says less of its smaller ones, which its model hardly knows
HALFWAY = 10.0  # claimed samples of a class with which a client has half a say
BEST = 0.75  # the quantile of a client's pairs that is its best agreement
VOICE = 0.2  # a say from which a client is a witness: 3 samples
SHARED = 0.2  # of two clients' says in the classes that they share: from it on, one is a full witness of the other


def say_of(counts: Tensor) -> Tensor:
    """What claims of so many samples (K, C) count for, double (K, C) in 0..1; NaN for a client that claims none."""
    counts = counts.double()
    largest = counts.amax(1, keepdim=True)
    return counts / (counts + HALFWAY) * (counts / (RARE * largest)).clamp(max=1)


@dataclass(frozen=True)
class Agreement:
    """The agreement of K clients by class, where each counts with `trust` (K, C) in 0..1 as a witness.

    `model_by_class` and `samples_by_class` double (K, C) are NaN where nobody else can tell. `witnesses` int64 (K, C)
    are how many others hold the class, and were asked or drew samples of it.
    """

    survey: Survey
    trust: Tensor

    @cached_property
    def say(self) -> Tensor:
        """What each client's claim of a class counts for, double (K, C)."""
        return say_of(self.survey.counts)

    @cached_property
    def model_by_class(self) -> Tensor:
        """How far each client's expert calls the others' samples of a class what they were drawn as: the median."""
        return self._by_class(self.survey.hits, self.has_generator)

    @cached_property
    def samples_by_class(self) -> Tensor:
        """How far the others' experts call each client's samples of a class what they were drawn as: the median."""
        return self._by_class(self.survey.hits.transpose(0, 1), self.has_expert)

    @cached_property
    def has_generator(self) -> Tensor:
        """Whether there are samples of each client and class, bool (K, C)."""
        return self.survey.drawn > 0

    @cached_property
    def has_expert(self) -> Tensor:
        """Whether each client's expert was asked, and the client claims the class, bool (K, C)."""
        asked = (self.survey.readings[:, :, 0] >= 0).any(0)
        return asked[:, None] & (self.survey.counts > 0)

    @cached_property
    def witnesses(self) -> Tensor:
        """How many others have a voice in each client's class."""
        voices = (self.trust * self.say >= VOICE) & (self.has_generator | self.has_expert)
        return voices.sum(0) - voices.long()

    def against(self, limit: float) -> Tensor:
        """How many others with a voice in a class agree with each client there by less than `limit`, int64 (K, C)."""
        classes = self.survey.hits.shape[2]
        voices = self.trust * self.say >= VOICE
        model = _beyond_chance(self.survey.hits, classes) < limit
        samples = _beyond_chance(self.survey.hits.transpose(0, 1), classes) < limit
        contradict = (model & (voices & self.has_generator)[None]) | (samples & (voices & self.has_expert)[None])
        contradict[torch.arange(len(voices)), torch.arange(len(voices))] = False
        return contradict.sum(1)

    @cached_property
    def witness(self) -> Tensor:
        """How far client j (column) can tell of client k (row), double (K, K) in 0..1, by the classes that they share.

        More samples bring no more than a full voice: several witnesses count, and not one that claims much.
        """
        able = self.say * (self.has_generator | self.has_expert)
        shared = (able @ (self.trust * able).T / SHARED).clamp(max=1)
        return shared.fill_diagonal_(0)

    @cached_property
    def by_model(self) -> Tensor:
        """The median over witnesses of how far a client's expert calls their samples what they were drawn as, (K,)."""
        return self._quantile(self._pairs(self.survey.hits, self.has_generator))

    @cached_property
    def by_samples(self) -> Tensor:
        """The median over witnesses of how far they call a client's samples what they were drawn as, (K,)."""
        return self._quantile(self._pairs(self.survey.hits.transpose(0, 1), self.has_expert))

    @cached_property
    def pairs(self) -> Tensor:
        """How client k (row) agrees with client j, double (K, K): the lower one of its model and its samples."""
        model = self._pairs(self.survey.hits, self.has_generator)
        return torch.fmin(model, self._pairs(self.survey.hits.transpose(0, 1), self.has_expert))

    @cached_property
    def best(self) -> float:
        """The median over clients of how each agrees with those with whom it agrees best; NaN: nobody can tell."""
        return float(self._quantile(self.pairs, BEST).nanmedian())

    @cached_property
    def own(self) -> Tensor:
        """How far each client's expert calls its own samples what they were drawn as, over its classes, double (K,)."""
        places = torch.arange(len(self.say))
        return self._pairs(self.survey.hits, self.has_generator, trusted=False)[places, places]

    @cached_property
    def counterparts(self) -> Tensor:
        """How many full witnesses each client has, rounded down, int64 (K,)."""
        return (self.witness.sum(1) + 1e-9).long()

    @cached_property
    def conflict(self) -> Tensor:
        """How many witnesses contradict each client, as shares of their samples, double (K,)."""
        return ((1 - self.pairs).nan_to_num() * self.witness).sum(1)

    def _pairs(self, shares: Tensor, able: Tensor, *, trusted: bool = True) -> Tensor:
        """The agreement (K, J) beyond chance of each pair over the classes that they share; NaN without any."""
        says = self.say * able * (self.trust if trusted else 1.0)
        weight = self.say[:, None] * says[None]
        weight = torch.where(shares.isnan(), 0.0, weight)
        mean = (shares.nan_to_num() * weight).sum(2) / weight.sum(2)
        return _beyond_chance(mean, shares.shape[2])

    def _quantile(self, pairs: Tensor, level: float = 0.5) -> Tensor:
        """The quantile over witnesses, by their weight, of `pairs` (K, J): NaN for a client without any."""
        weight = torch.where(pairs.isnan(), 0.0, self.witness)
        order = pairs.nan_to_num(nan=torch.inf).argsort(1)
        ranked = weight.gather(1, order).cumsum(1)
        place = (ranked >= ranked[:, -1:] * level).long().argmax(1)
        middle = pairs.gather(1, order).gather(1, place[:, None])[:, 0]
        return torch.where(ranked[:, -1] > 0, middle, torch.nan)

    def _by_class(self, shares: Tensor, able: Tensor) -> Tensor:
        """The median (K, C) of `shares` (K, J, C), beyond chance, over the others who have a voice in the class."""
        clients, _, classes = shares.shape
        voices = (self.trust * self.say >= VOICE) & able
        told = torch.where(voices[None], shares, torch.nan)
        told[torch.arange(clients), torch.arange(clients)] = torch.nan
        return _beyond_chance(told.nanquantile(0.5, 1), classes)


def _beyond_chance(shares: Tensor, classes: int) -> Tensor:
    return (shares * classes - 1) / (classes - 1)
