"""The summary of several comparisons: ranks, gaps to pooled training and paired differences, as means over all cells.

A cell is a `Point` here: means over its seeds are taken first. Nothing is read here, and nothing is random.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from mosaic_fl.comparison.grid import CENTRALISED
from mosaic_fl.comparison.interval import Estimate, estimate
from mosaic_fl.errors import UsageError

DIGITS = 9  # decimals of an accuracy in percent: what differs further behind is a rounding error, so a tie


@dataclass(frozen=True)
class Point:
    """A cell of the summary, without method and seed. `conditions` are unusual settings of data or split, as text.

    `alpha` is None where the split has none.
    """

    data: str
    conditions: str
    clients: int
    split: str
    alpha: float | None
    architectures: str
    rounds: int

    def __str__(self) -> str:
        spread = f" · {self.split}" if self.split else ""
        alpha = f" · α = {self.alpha:g}" if self.alpha is not None else ""
        data = f"{self.data} ({self.conditions})" if self.conditions else self.data
        clients = f"{self.clients} client{'s' * (self.clients != 1)}"
        rounds = f"{self.rounds} round{'s' * (self.rounds != 1)}"
        return f"{data} · {clients}{spread}{alpha} · {self.architectures} · {rounds}"


@dataclass(frozen=True)
class Competitor:
    """A method, and the name of the variant that its folder has on the command line, or empty."""

    method: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.method} ({self.variant})" if self.variant else self.method


@dataclass(frozen=True)
class Entry:
    """A competitor at a point: accuracies in percent by seed, of `seeds` seeds.

    `kind` and `caveat` are as in `table.Row`; `reason` says in words why results are missing, or is empty.
    """

    kind: str
    accuracies: Mapping[int, float]
    seeds: int
    caveat: str = ""
    reason: str = ""

    @property
    def accuracy(self) -> float | None:
        """The mean over the seeds with a result; None without any."""
        return fmean(self.accuracies.values()) if self.accuracies else None


Entries = Mapping[Competitor, Entry]
Points = Mapping[Point, Entries]


@dataclass(frozen=True)
class Worst:
    """The lowest gap of a competitor, in points, and its cell."""

    gap: float
    cell: str


@dataclass(frozen=True)
class SummaryRow:
    """A competitor over all cells: `cells` is the number of those with a result.

    `rank` and `won` (cells of rank 1, shared ones included) are None where it takes no part in ranks. `gap` is its
    accuracy minus that of the pooled model on the same seeds, in points; None where no cell has both.
    """

    competitor: Competitor
    kind: str
    caveat: str
    cells: int
    rank: Estimate | None
    won: int | None
    gap: Estimate | None
    worst: Worst | None

    @property
    def label(self) -> str:
        """The competitor with its caveat."""
        return f"{self.competitor} ({self.caveat})" if self.caveat else str(self.competitor)


@dataclass(frozen=True)
class Difference:
    """A variant of a method minus its first variant, in points, on the same cells and seeds: the mean over cells.

    `better` and `worse` are numbers of cells; they share the rest.
    """

    competitor: Competitor
    against: Competitor
    points: Estimate | None
    better: int
    worse: int


@dataclass(frozen=True)
class Summary:
    """Rows from the best mean rank to the worst; `others` have gaps alone. `sets` has the cells of each data set."""

    sets: Mapping[str, int]
    rows: tuple[SummaryRow, ...]
    others: tuple[SummaryRow, ...]
    differences: tuple[Difference, ...]

    @property
    def cells(self) -> int:
        """The number of cells."""
        return sum(self.sets.values())


def summarise(points: Points) -> Summary:
    """The summary of all `points`.

    The competitors that take part in ranks are data-free methods that every point has, with or without a result: a
    mean rank among other rivals from cell to cell would say nothing. Raises UsageError where there are none.
    """
    competitors = list(dict.fromkeys(competitor for entries in points.values() for competitor in entries))
    rivals = [c for c in competitors if all(c in e and e[c].kind == "method" for e in points.values())]
    if not rivals:
        raise UsageError(_no_rivals(points))
    ranks = {point: _ranks(entries, rivals) for point, entries in points.items()}
    if not any(ranks.values()):
        raise UsageError(f"no cell has a result of {' or '.join(map(str, rivals))}, the methods in every comparison")
    rows = [_row(competitor, points, ranks) for competitor in competitors]
    rival_rows = [row for row in rows if row.rank is not None]
    others = [row for row in rows if row.rank is None]
    rival_rows.sort(key=lambda row: row.rank.mean if row.rank else 0.0)  # stable: ties stay in the grid's order
    others.sort(key=lambda row: (row.kind == "reference", -row.gap.mean if row.gap else float("inf")))
    return Summary(
        Counter(point.data for point in points),
        tuple(rival_rows),
        tuple(others),
        tuple(_differences(points, competitors)),
    )


def to_json(summary: Summary, notes: Sequence[str]) -> str:
    """All figures with all digits, and the notes, as JSON."""
    content = {
        "sets": dict(summary.sets),
        "cells": summary.cells,
        "rows": [_flat(row) for row in (*summary.rows, *summary.others)],
        "differences": [_flat(difference) for difference in summary.differences],
        "notes": list(notes),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _flat(row: SummaryRow | Difference) -> dict[str, Any]:
    content = asdict(row)
    estimates = {key: value for key, value in vars(row).items() if isinstance(value, Estimate)}
    competitor: dict[str, Any] = content.pop("competitor")
    return competitor | content | {key: asdict(value) | {"over": value.over} for key, value in estimates.items()}


def _ranks(entries: Entries, rivals: Sequence[Competitor]) -> dict[Competitor, float]:
    """The rank of each competitor from 1, the best; ties have their mean rank (Demšar 2006, JMLR 7, section 3.2.2).

    Those without a result come last, as one tie. Empty where none has a result.
    """
    scores = {competitor: _score(entries[competitor]) for competitor in rivals}
    if not any(score >= 0 for score in scores.values()):
        return {}
    values = list(scores.values())
    return {
        competitor: sum(other > score for other in values) + (values.count(score) + 1) / 2
        for competitor, score in scores.items()
    }


def _score(entry: Entry) -> float:
    """The accuracy without rounding errors; −1 without a result."""
    return -1.0 if entry.accuracy is None else round(entry.accuracy, DIGITS)


def _row(competitor: Competitor, points: Points, ranks: Mapping[Point, Mapping[Competitor, float]]) -> SummaryRow:
    entries = {point: all_entries[competitor] for point, all_entries in points.items() if competitor in all_entries}
    own = [(point, of_point[competitor]) for point, of_point in ranks.items() if competitor in of_point]
    won = sum(rank == min(ranks[point].values()) for point, rank in own)
    gaps = [(point, gap) for point in entries if (gap := _gap(points[point], competitor)) is not None]
    worst = min(gaps, key=lambda gap: gap[1], default=None)
    caveats = {entry.caveat for entry in entries.values()}
    field = max((len(of_point) for of_point in ranks.values()), default=1)
    return SummaryRow(
        competitor,
        next(iter(entries.values())).kind,
        caveats.pop() if len(caveats) == 1 else "",
        sum(bool(entry.accuracies) for entry in entries.values()),
        estimate([(point.data, rank) for point, rank in own], 1, field),
        won if own else None,
        estimate([(point.data, gap) for point, gap in gaps]) if competitor.method != CENTRALISED else None,
        Worst(worst[1], str(worst[0])) if worst and competitor.method != CENTRALISED else None,
    )


def _gap(entries: Entries, competitor: Competitor) -> float | None:
    """The accuracy above that of the pooled model of the same variant, in points."""
    pooled = entries.get(Competitor(CENTRALISED, competitor.variant))
    return _mean_difference(entries[competitor], pooled) if pooled else None


def _mean_difference(ours: Entry, theirs: Entry) -> float | None:
    """The mean difference over the seeds that both have; None without such seeds."""
    seeds = ours.accuracies.keys() & theirs.accuracies.keys()
    return fmean(ours.accuracies[seed] - theirs.accuracies[seed] for seed in sorted(seeds)) if seeds else None


def _differences(points: Points, competitors: Sequence[Competitor]) -> Iterator[Difference]:
    """Every later variant of a method against its first one."""
    first = dict[str, Competitor]()
    for competitor in competitors:
        base = first.setdefault(competitor.method, competitor)
        if base is competitor:
            continue
        pairs = [
            (point.data, round(difference, DIGITS))
            for point, entries in points.items()
            if competitor in entries and base in entries
            if (difference := _mean_difference(entries[competitor], entries[base])) is not None
        ]
        better = sum(difference > 0 for _, difference in pairs)
        worse = sum(difference < 0 for _, difference in pairs)
        yield Difference(competitor, base, estimate(pairs), better, worse)


def _no_rivals(points: Points) -> str:
    """Why no method takes part in ranks: the data-free methods of each set."""
    of_sets = dict[str, dict[str, None]]()
    for point, entries in points.items():
        names = of_sets.setdefault(point.data, {})
        names.update((str(competitor), None) for competitor, entry in entries.items() if entry.kind == "method")
    parts = "; ".join(f"{data} has {', '.join(names) or 'none'}" for data, names in of_sets.items())
    return f"no data-free method is in every comparison: {parts}"
