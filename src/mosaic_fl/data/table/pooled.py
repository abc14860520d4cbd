"""One column over all sites: what their statistics say together."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mosaic_fl.data.table.frame import number
from mosaic_fl.data.table.knots import Counts
from mosaic_fl.data.table.site_statistics import ColumnStatistics, Statistics
from mosaic_fl.data.table.values import TRUTH, Values
from mosaic_fl.domains.table.column import NUMBERS


@dataclass(frozen=True)
class Pooled:
    """The column `name`: the `parts` of the clients that have it, by their number, of `clients` in all.

    `strange` has for each client the words for a missing value of other sites alone, which it took for values.
    """

    name: str
    parts: Mapping[int, ColumnStatistics]
    clients: Mapping[int, Statistics]
    strange: Mapping[int, Set[str]]

    @cached_property
    def voters(self) -> dict[int, ColumnStatistics]:
        """The parts of sites where the column is a feature."""
        return {client: part for client, part in self.parts.items() if part.is_feature}

    @cached_property
    def lacking(self) -> list[int]:
        """The clients without this column."""
        return [client for client in self.clients if client not in self.parts]

    @cached_property
    def type(self) -> str:
        """The type for all sites; "" where some have numbers and others words."""
        parts = self.voters.values()
        types = {part.type for part in parts}
        if types == {"boolean"}:
            return "boolean"
        if types & {*NUMBERS}:
            if not all(part.type in NUMBERS or _is_coded(part) for part in parts):
                return ""
            coded = "boolean" in types and all(part.constant for part in parts if part.type in NUMBERS)
            if coded and set(self.numbers[0].tolist()) <= {0.0, 1.0}:
                return "boolean"
            return "numeric" if "numeric" in types else "whole"
        coded = "boolean" in types and all(part.constant for part in parts if part.type == "category")
        return "boolean" if coded and all(word.casefold() in TRUTH for word in self.tallies) else "category"

    @cached_property
    def numbers(self) -> tuple[Values, Counts]:
        """The different points of all sites, increasing, and the rows of each (see `sketch`)."""
        points = list[float]()
        counts = list[int]()
        for part in self.voters.values():
            points += part.points or list(map(_number, part.categories))
            counts += part.counts
        different, places = np.unique(np.array(points, np.float64), return_inverse=True)
        sums = np.zeros(len(different), np.int64)
        np.add.at(sums, places, np.array(counts, np.int64))
        return different, sums

    @cached_property
    def tallies(self) -> dict[str, int]:
        """The rows of each category, at all sites that tell of it."""
        tallies = Counter[str]()
        for part in self.voters.values():
            tallies.update(part.tallies)
        return dict(tallies)

    @property
    def names(self) -> set[str]:
        """The categories: those of enough rows at a site, and the public ones."""
        return {word for part in self.voters.values() for word in (*part.categories, *part.public)}

    @property
    def absent(self) -> int:
        """The rows without a value at the sites that have the column as a feature."""
        return sum(part.absent for part in self.voters.values())

    @property
    def rare(self) -> int:
        """The rows of categories that are not told, at sites without noise."""
        return sum(
            max(0, self.clients[client].rows - part.absent - sum(part.counts))
            for client, part in self.voters.items()
            if part.type not in NUMBERS and self.clients[client].epsilon is None
        )

    @property
    def mean(self) -> float | None:
        """The mean of a column of numbers; None where a site does not tell its sum, or has no value."""
        totals = [part.total for part in self.voters.values() if part.type in NUMBERS]
        count = sum(sum(part.counts) for part in self.voters.values())
        known = [total for total in totals if total is not None]
        return sum(known) / count if count and len(known) == len(self.voters) else None

    @property
    def may_miss(self) -> bool:
        """Whether a row somewhere may lack the value, for all that is known."""
        noisy = any(self.clients[client].epsilon is not None for client in self.voters)
        unread = self.rare if self.type == "category" else 0
        strange = any(_has_one_of(part, self.strange[client]) for client, part in self.voters.items())
        return bool(noisy or self.absent or unread or strange or len(self.voters) < len(self.clients))

    @property
    def is_constant(self) -> bool:
        """Whether each site has one value alone."""
        return all(part.constant for part in self.voters.values())


def pool(sites: Sequence[Statistics]) -> list[Pooled]:
    """The columns of all sites, in the order of the first that has them."""
    clients = {site.client: site for site in sites}
    parts = dict[str, dict[int, ColumnStatistics]]()
    for site in sites:
        for column in site.columns:
            parts.setdefault(column.name, {})[site.client] = column
    words = {word for site in sites for word in folded(site.missing)}
    strange = {site.client: words.difference(folded(site.missing)) for site in sites}
    return [Pooled(name, by_client, clients, strange) for name, by_client in parts.items()]


def folded(words: Iterable[str]) -> list[str]:
    """Words as they are compared with those for a missing value."""
    return [word.strip().casefold() for word in words]


def _has_one_of(part: ColumnStatistics, words: Set[str]) -> bool:
    """Whether a value of a site's column may be one of these `words`, in any case."""
    if part.type in NUMBERS:
        return any(part.points[0] <= _number(word) <= part.points[-1] for word in words) if part.points else False
    return any(word in words for word in folded((*part.categories, *part.public)))


def _is_coded(part: ColumnStatistics) -> bool:
    """Whether a column of truth values has numbers for them, as 0 and 1."""
    return part.type == "boolean" and not any(math.isnan(_number(word)) for word in part.categories)


def _number(word: str) -> float:
    return number(word.replace(",", "."))
