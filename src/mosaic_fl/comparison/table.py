"""From cells to tables: means over seeds, paired differences, what sets a row apart; CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import product
from statistics import fmean, stdev
from typing import Any

from mosaic_fl.comparison.cells import CellResult, Results
from mosaic_fl.comparison.grid import CENTRALISED, LOCAL, Cell, Grid, Setting
from mosaic_fl.config import Config
from mosaic_fl.methods import METHODS
from mosaic_fl.registries import PARTITIONS

LEVEL = 0.05  # a difference is beyond noise where a paired t test would see it by chance less often than this
ROUNDING = 1e-9  # points: differences that part by less are the same; one image of 10⁸ is 10⁻⁶
USUAL_SPLIT = Config().partition.split
FIRST = "mosaic"  # what the others are measured against, where it ran
REAL_DATA = "not data-free"
CHOSEN = "chosen on validation splits"


@dataclass(frozen=True)
class Paired:
    """Differences of two methods on the same seeds: mean, standard deviation (None with one seed), p of a t test.

    `p` is that of this comparison alone, `p_holm` is corrected for all comparisons of its table. Both are None with one
    seed, and where all differences are the same one: a t test without a spread would be sure of anything.
    """

    mean: float
    std: float | None
    p: float | None
    p_holm: float | None

    @property
    def verdict(self) -> str:
        """Whether chance explains the difference."""
        if self.p is None or self.p_holm is None:
            return "one seed: cannot say" if self.std is None else "no spread: cannot say"
        side = "better" if self.mean > 0 else "worse"
        if self.p >= LEVEL:
            return "within noise"
        return side if self.p_holm < LEVEL else f"{side} alone, not after Holm"


@dataclass(frozen=True)
class Row:
    """One method in one setting, over seeds.

    `kind` is "method", "real data" or "reference", `caveat` says in words what sets its conditions apart. Accuracies
    and differences are in percent, megabytes (10⁶ bytes) and seconds a client; None where there is no such figure.
    `seeds` counts those that are done, `note` says in words what is missing.
    """

    method: str
    kind: str
    caveat: str = ""
    note: str = ""
    seeds: int = 0
    accuracy: float | None = None
    accuracy_std: float | None = None
    models_served: float | None = None
    rounds: int = 1
    megabytes_up: float | None = None
    megabytes_down: float | None = None
    client_seconds: float | None = None
    server_seconds: float | None = None
    paired: Paired | None = None

    @property
    def label(self) -> str:
        """The method's name, and what a reader must not overlook."""
        return f"{self.method} ({self.caveat})" if self.caveat else self.method


@dataclass(frozen=True)
class Block:
    """The table of one setting over all its seeds: rows from the best to the worst, reference lines last.

    `against` is the method that the others' paired differences are taken from, or empty; `split` says how the data is
    spread over clients.
    """

    clients: int
    alpha: float
    architectures: str
    rounds: int
    against: str
    rows: tuple[Row, ...]
    split: str = USUAL_SPLIT

    @property
    def title(self) -> str:
        """The setting in words."""
        kind = f"{self.architectures} architectures"
        turns = f"{self.rounds} round{'s' * (self.rounds != 1)}"
        how = [self.split] if self.split != USUAL_SPLIT else []
        how += [f"α = {self.alpha:g}"] if PARTITIONS[self.split].uses_alpha else []
        return f"{self.clients} clients · {', '.join(how)} · {kind} · {turns}"


def blocks(grid: Grid, results: Results) -> list[Block]:
    """The tables of all settings, of the results that are there.

    Paired differences are taken from Mosaic where it ran, since a reference that the results choose would flatter
    itself; else from the best data-free method that serves one model.
    """
    axes = product(grid.clients, grid.alphas, grid.architectures, grid.rounds)
    return [_block(grid, results, *place) for place in axes]


def paired(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Paired | None:
    """ours − theirs over the seeds that have both, with a two-sided paired t test; None where no seed has both.

    The p is corrected for no other comparison.
    """
    from scipy.special import stdtr  # Student's t distribution

    differences = [a - b for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if not differences:
        return None
    mean = fmean(differences)
    n = len(differences)
    if n == 1:
        return Paired(mean, None, None, None)
    std = stdev(differences)
    if std < ROUNDING:
        p = 1.0 if abs(mean) < ROUNDING else None
        return Paired(mean, 0.0, p, p)
    p = float(2 * stdtr(n - 1, -abs(mean) / (std / math.sqrt(n))))
    return Paired(mean, std, p, p)


def holm(p: Sequence[float]) -> list[float]:
    """Each of m p values corrected for all m: the r-th least is (m − r + 1)·p, or what is greatest before it; ≤ 1.

    Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    corrected = list(p)
    least = 0.0
    for before, place in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        corrected[place] = least = max(least, min(1.0, (len(p) - before) * p[place]))
    return corrected


def to_csv(tables: Sequence[Block]) -> str:
    """One line a setting and method, its figures in full."""
    out = io.StringIO()
    names = [*_flat(Block(0, 0, "", 0, "", ()), Row("", ""))]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(block, row) for block in tables for row in block.rows)
    return out.getvalue()


def to_json(tables: Sequence[Block], results: Results) -> str:
    """The tables, and every cell that they are made of."""
    made = [
        {**asdict(cell.setting), "method": cell.method, "rounds": cell.rounds, **asdict(result)}
        for cell, result in results.items()
    ]
    content = {"tables": [_flat(block, row) for block in tables for row in block.rows], "cells": made}
    return json.dumps(content, indent=1) + "\n"


def kind_of(method: str) -> str:
    """What a method is: "method", "real data", or "reference".

    It is "real data" where real held-back samples train what serves. Mosaic that is `CHOSEN` stays a "method": no image
    leaves a client, only a confusion matrix, and it picks among a few recipes; its row says so.
    """
    card = METHODS.get(method)
    if method == CENTRALISED or card is None or card.reference:
        return "reference"
    return "real data" if card.real_data else "method"


def caveat_of(method: str, config: Config) -> str:
    """What sets the conditions of a cell apart from the others', in words; empty where nothing does."""
    card = METHODS.get(method)
    if card is None:
        return ""
    asked = config.rounds.kind != "fedavg" and config.rounds.warm_up > 0
    parts = [
        REAL_DATA if kind_of(method) == "real data" else "",
        CHOSEN if card.chooses or (card.fuses and config.distill.choose) else "",
        _widths(config) if card.widths == "always" or (card.widths and asked) else "",
    ]
    return "; ".join(filter(None, parts))


def own_budget(own: Mapping[str, Any]) -> str:
    """A method's own settings of the clients' work, as "own train.max_steps 500"; empty where it has none."""
    said = [f"{key} {value}" for key, value in sorted(own.items()) if key.startswith(LOCAL)]
    return f"own {', '.join(said)}" if said else ""


def _widths(config: Config) -> str:
    """The widths that the clients have, as "widths 1 … 1/16"; empty where all have the full one."""
    # What is no power of two bars the cell: here it only has to be short.
    held = {Fraction(ratio).limit_denominator(100) for ratio in config.models.ratios[: config.partition.clients]}
    if held <= {Fraction(1)}:
        return ""
    names = [str(ratio) for ratio in sorted(held, reverse=True)]
    return f"width{'s' * (len(names) > 1)} {f'{names[0]} … {names[-1]}' if len(names) > 2 else ', '.join(names)}"


def _block(grid: Grid, results: Results, clients: int, alpha: float, kind: str, rounds: int) -> Block:
    models = grid.base().models
    plain = dict[str, Row]()
    accuracies = dict[str, list[float | None]]()
    for method in grid.methods:
        shown = grid.shown(method, rounds)
        at = [Cell(Setting(clients, alpha, kind, seed), method, shown) for seed in grid.seeds]  # type: ignore[arg-type]
        found = [results.get(cell) for cell in at]
        accuracies[method] = [None if r is None or r.accuracy is None else 100 * r.accuracy for r in found]
        conditions = caveat_of(method, grid.config(at[0], models.clients, models.student))
        caveat = "; ".join(filter(None, [conditions, own_budget(grid.own(method))]))
        plain[method] = _row(method, found, shown, caveat)
    against = _reference(plain.values())
    others = [method for method in plain if against and method != against]
    differences = _corrected({method: paired(accuracies[method], accuracies[against]) for method in others})
    rows = [replace(row, paired=differences.get(method)) for method, row in plain.items()]
    # Stable, so that what has no figure stays in the order in which it was asked for.
    rows.sort(key=lambda row: (row.kind == "reference", -(row.accuracy or -1.0)))
    return Block(clients, alpha, kind, rounds, against, tuple(rows), grid.base().partition.split)


def _corrected(differences: Mapping[str, Paired | None]) -> dict[str, Paired | None]:
    """The differences of one table with the p of each corrected for all of them."""
    tested = {method: found for method, found in differences.items() if found and found.p is not None}
    corrected = holm([found.p for found in tested.values() if found.p is not None])
    pairs = zip(tested.items(), corrected, strict=True)
    return {**differences, **{method: replace(found, p_holm=p) for (method, found), p in pairs}}


def _reference(rows: Iterable[Row]) -> str:
    ran = [row for row in rows if row.accuracy is not None and row.kind == "method"]
    if any(row.method == FIRST for row in ran):
        return FIRST
    one = [row for row in ran if row.models_served == 1]
    return max(one, key=lambda row: row.accuracy or 0.0).method if one else ""


def _row(method: str, found: Sequence[CellResult | None], rounds: int, caveat: str) -> Row:
    done = [r for r in found if r is not None and r.status == "done"]

    def mean(figure: Callable[[CellResult], float | None]) -> float | None:
        values = [value for r in done if (value := figure(r)) is not None]
        return fmean(values) if values else None

    accuracies = [100 * r.accuracy for r in done if r.accuracy is not None]
    return Row(
        method=method,
        kind=kind_of(method),
        caveat=caveat,
        note=_note(found),
        seeds=len(done),
        accuracy=fmean(accuracies) if accuracies else None,
        accuracy_std=stdev(accuracies) if len(accuracies) > 1 else None,
        models_served=mean(lambda r: r.models_served),
        rounds=rounds,
        megabytes_up=mean(lambda r: None if r.bytes_up is None else r.bytes_up / 1e6),
        megabytes_down=mean(lambda r: None if r.bytes_down is None else r.bytes_down / 1e6),
        client_seconds=mean(lambda r: r.client_seconds),
        server_seconds=mean(lambda r: r.server_seconds),
    )


def _note(found: Sequence[CellResult | None]) -> str:
    """What is missing, in words: the first reason, and how many seeds there are where some are not."""
    reasons = [f"failed: {r.reason}" if r.status == "failed" else r.reason for r in found if r and r.status != "done"]
    done = sum(r is not None and r.status == "done" for r in found)
    if reasons:
        return reasons[0] if not done else f"{done} of {len(found)} seeds; {reasons[0]}"
    if done == len(found):
        return ""
    return f"{done} of {len(found)} seeds" if done else "not run yet"


def _flat(block: Block, row: Row) -> dict[str, Any]:
    """One line of CSV."""
    alpha = block.alpha if PARTITIONS[block.split].uses_alpha else None
    place = {"clients": block.clients, "split": block.split, "alpha": alpha, "architectures": block.architectures}
    own = asdict(row)
    own.pop("paired")
    return {
        **place,
        "table_rounds": block.rounds,
        **own,
        "against": block.against if row.paired else "",
        "difference": row.paired.mean if row.paired else None,
        "difference_std": row.paired.std if row.paired else None,
        "p": row.paired.p if row.paired else None,
        "p_holm": row.paired.p_holm if row.paired else None,
        "verdict": row.paired.verdict if row.paired else "",
    }
