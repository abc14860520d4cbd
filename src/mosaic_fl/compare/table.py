"""From cells to tables: means over seeds, paired differences, Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

from mosaic_fl.compare.cells import Result, Results
from mosaic_fl.compare.grid import CENTRALISED, Cell, Grid, Setting
from mosaic_fl.methods import METHODS

LEVEL = 0.05  # a difference is beyond noise where a paired t test would see it by chance less often than this
FIRST = "mosaic"  # what the others are measured against, where it ran
NONE = "–"
REAL_DATA = "not data-free"


@dataclass(frozen=True)
class Paired:
    """Differences of two methods on the same seeds: mean, standard deviation (None with one seed), p of a t test."""

    mean: float
    std: float | None
    p: float | None

    @property
    def verdict(self) -> str:
        """Whether chance explains the difference."""
        if self.p is None:
            return "one seed: cannot say"
        return "within noise" if self.p >= LEVEL else "better" if self.mean > 0 else "worse"


@dataclass(frozen=True)
class Row:
    """One method in one setting, over seeds.

    `kind` is "method", "real data" or "reference". Accuracies and differences are in percent, megabytes (10⁶ bytes)
    and seconds a client; None where there is no such figure. `seeds` counts those that are done, `note` says in words
    what is missing.
    """

    method: str
    kind: str
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
        return f"{self.method} ({REAL_DATA})" if self.kind == "real data" else self.method


@dataclass(frozen=True)
class Block:
    """The table of one setting over all its seeds: rows from the best to the worst, reference lines last.

    `against` is the method that the others' paired differences are taken from, or empty.
    """

    clients: int
    alpha: float
    architectures: str
    rounds: int
    against: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """The setting in words."""
        kind = f"{self.architectures} architectures"
        turns = f"{self.rounds} round{'s' * (self.rounds != 1)}"
        return f"{self.clients} clients · α = {self.alpha:g} · {kind} · {turns}"


def blocks(grid: Grid, results: Results) -> list[Block]:
    """The tables of all settings, of the results that are there.

    Paired differences are taken from Mosaic where it ran, since a reference that the results choose would flatter
    itself; else from the best data-free method that serves one model.
    """
    found = []
    for clients in grid.clients:
        for alpha in grid.alphas:
            for kind in grid.architectures:
                for rounds in grid.rounds:
                    at = [Setting(clients, alpha, kind, seed) for seed in grid.seeds]  # type: ignore[arg-type]
                    by_method = {
                        method: [results.get(Cell(s, method, grid.shown(method, rounds))) for s in at]
                        for method in grid.methods
                    }
                    against, rows = _rows(by_method, {m: grid.shown(m, rounds) for m in grid.methods})
                    found.append(Block(clients, alpha, kind, rounds, against, rows))
    return found


def paired(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Paired | None:
    """ours − theirs over the seeds that have both, with a two-sided paired t test; None where no seed has both."""
    from scipy.special import stdtr  # Student's t distribution

    differences = [a - b for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    if not differences:
        return None
    mean, n = fmean(differences), len(differences)
    if n == 1:
        return Paired(mean, None, None)
    std = stdev(differences)
    if std == 0:
        return Paired(mean, 0.0, 1.0 if mean == 0 else 0.0)
    return Paired(mean, std, float(2 * stdtr(n - 1, -abs(mean) / (std / math.sqrt(n)))))


def to_markdown(tables: Sequence[Block]) -> str:
    """One heading and one table a setting."""
    return "\n".join(_markdown(block) for block in tables)


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


def spread(mean: float | None, std: float | None, *, sign: bool = False) -> str:
    """As "97.8 ± 0.4", with a sign where asked for; without ± where there is one seed."""
    if mean is None:
        return NONE
    text = f"{mean:+.1f}".replace("-", "−") if sign else f"{mean:.1f}"
    return text if std is None else f"{text} ± {std:.1f}"


def number(value: float | None) -> str:
    """At least two digits that say something: "0.35", "4.1", "120"."""
    if value is None:
        return NONE
    digits = 0 if value >= 99.5 else 1 if value >= 9.95 else 2
    return f"{value:,.{digits}f}"


def kind_of(method: str) -> str:
    """What a method is: "method", "real data", or "reference"."""
    card = METHODS.get(method)
    if method == CENTRALISED or card is None or card.reference:
        return "reference"
    return "real data" if card.real_data else "method"


def _rows(by_method: Mapping[str, Sequence[Result | None]], rounds: Mapping[str, int]) -> tuple[str, tuple[Row, ...]]:
    """(what the differences are taken from, the rows in the order of a table)."""
    accuracies = {
        method: [None if r is None or r.accuracy is None else 100 * r.accuracy for r in found]
        for method, found in by_method.items()
    }
    plain = {method: _row(method, found, rounds[method]) for method, found in by_method.items()}
    against = _reference(plain.values())
    rows = [
        replace(row, paired=paired(accuracies[method], accuracies[against])) if against and method != against else row
        for method, row in plain.items()
    ]
    # Stable, so that what has no figure stays in the order in which it was asked for.
    return against, tuple(sorted(rows, key=lambda row: (row.kind == "reference", -(row.accuracy or -1.0))))


def _reference(rows: Iterable[Row]) -> str:
    ran = [row for row in rows if row.accuracy is not None and row.kind == "method"]
    if any(row.method == FIRST for row in ran):
        return FIRST
    one = [row for row in ran if row.models_served == 1]
    return max(one, key=lambda row: row.accuracy or 0.0).method if one else ""


def _row(method: str, found: Sequence[Result | None], rounds: int) -> Row:
    done = [r for r in found if r is not None and r.status == "done"]

    def mean(figure: Callable[[Result], float | None]) -> float | None:
        values = [value for r in done if (value := figure(r)) is not None]
        return fmean(values) if values else None

    accuracies = [100 * r.accuracy for r in done if r.accuracy is not None]
    return Row(
        method=method,
        kind=kind_of(method),
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


def _note(found: Sequence[Result | None]) -> str:
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
    place = {"clients": block.clients, "alpha": block.alpha, "architectures": block.architectures}
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
        "verdict": row.paired.verdict if row.paired else "",
    }


def _markdown(block: Block) -> str:
    heads = [
        "method", "accuracy %", "models", "rounds", "MB up", "MB down", "s at client", "s at server",
        f"against {block.against}" if block.against else "difference", "",
    ]  # fmt: skip
    lines = [f"### {block.title}", "", _line(heads), _line(["---", *["---:"] * 8, "---"])]
    parted = False
    for row in block.rows:
        if row.kind == "reference" and not parted:
            lines.append(_line(["*reference lines*", *[""] * 9]))
            parted = True
        lines.append(_line(cells(row)))
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """A row as text, in the order of the Markdown table's columns."""
    if row.accuracy is None:
        return [row.label, *[NONE] * 8, row.note]
    difference = spread(row.paired.mean, row.paired.std, sign=True) if row.paired else ""
    words = "; ".join(part for part in (row.paired.verdict if row.paired else "", row.note) if part)
    served = f"{row.models_served:g}" if row.models_served is not None else NONE
    figures = [row.megabytes_up, row.megabytes_down, row.client_seconds, row.server_seconds]
    accuracy = spread(row.accuracy, row.accuracy_std)
    return [row.label, accuracy, served, str(row.rounds), *map(number, figures), difference, words]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', '/') for text in cells)} |"
