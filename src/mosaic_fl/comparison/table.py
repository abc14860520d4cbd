"""From cells to tables: means over seeds, paired differences, caveats; and the tables as CSV and JSON."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import product
from statistics import fmean, stdev
from types import MappingProxyType
from typing import Any

from mosaic_fl.comparison.cells import CellResult, Results
from mosaic_fl.comparison.grid import CENTRALISED, CLIENT_SETTINGS, METRICS, Cell, Grid, Setting
from mosaic_fl.comparison.paired import Paired, correct, paired
from mosaic_fl.config import Config
from mosaic_fl.methods import METHODS
from mosaic_fl.registries import PARTITIONS

USUAL_SPLIT = Config().partition.split
BASELINE = "mosaic"  # where it ran, all others are compared with it
REAL_DATA = "not data-free"
PUBLIC_ENCODER = "public encoder"
VALIDATION_CHOICE = "chosen on validation splits"
DOUBT_CHOICE = "asks validation splits in doubt"


@dataclass(frozen=True)
class Row:
    """One method in one setting: means over seeds.

    `kind` is "method", "real data" or "reference". `caveat` says in words how its conditions differ from the others'.
    Accuracies, AUROC and differences are in percent, the log-loss in nats; AUROC, balanced accuracy and log-loss are
    those of rows of tables. Megabytes (10⁶ bytes) and client seconds are of one client; a figure is
    None where it is missing. `seeds` is the number of seeds with a result; `note` says in words what is missing.
    """

    method: str
    kind: str
    caveat: str = ""
    note: str = ""
    seeds: int = 0
    accuracy: float | None = None
    accuracy_std: float | None = None
    auroc: float | None = None
    auroc_std: float | None = None
    balanced_accuracy: float | None = None
    balanced_accuracy_std: float | None = None
    log_loss: float | None = None
    models_served: float | None = None
    rounds: int = 1
    megabytes_up: float | None = None
    megabytes_down: float | None = None
    client_seconds: float | None = None
    server_seconds: float | None = None
    paired: Paired | None = None

    @property
    def label(self) -> str:
        """The method's name with its caveat."""
        return f"{self.method} ({self.caveat})" if self.caveat else self.method

    def score(self, metric: str) -> tuple[float | None, float | None]:
        """(mean, standard deviation) over seeds of a metric, in percent."""
        return getattr(self, metric), getattr(self, f"{metric}_std")


@dataclass(frozen=True)
class Block:
    """The table of one setting over all its seeds: rows from the best to the worst, reference lines last.

    `against` is the method with which the others are compared by the `metric`, or empty. `split` says how the data is
    spread over clients, `share` is the part of the usual budgets that all methods have, `attack` what some clients do.
    """

    clients: int
    alpha: float
    architectures: str
    rounds: int
    against: str
    rows: tuple[Row, ...]
    split: str = USUAL_SPLIT
    share: float = 1.0
    metric: str = "accuracy"
    attack: str = ""

    @property
    def has_quality(self) -> bool:
        """Whether a row has figures beside the accuracy."""
        return any(row.log_loss is not None for row in self.rows)

    @property
    def title(self) -> str:
        """The setting in words."""
        kind = f"{self.architectures} architectures"
        rounds = f"{self.rounds} round{'s' * (self.rounds != 1)}"
        spread = [self.split] if self.split != USUAL_SPLIT else []
        spread += [f"α = {self.alpha:g}"] if PARTITIONS[self.split].uses_alpha else []
        attack = f" · attack {self.attack}" if self.attack else ""
        steps = f" · {self.share:.0%} of the usual steps" if self.share < 1 else ""
        return f"{self.clients} clients · {', '.join(spread)} · {kind} · {rounds}{steps}{attack}"


def blocks(grid: Grid, results: Results) -> list[Block]:
    """The tables of all settings, from the results so far.

    Methods are compared with Mosaic where it ran: a reference that the results choose would look better than it is.
    Otherwise they are compared with the best data-free method that serves one model.
    """
    axes = product(grid.clients, grid.alphas, grid.architectures, grid.rounds)
    return [_block(grid, results, *point) for point in axes]


def to_csv(tables: Sequence[Block]) -> str:
    """One line a setting and method, with all digits of its figures."""
    out = io.StringIO()
    names = [*_flat(Block(0, 0, "", 0, "", ()), Row("", ""))]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_flat(block, row) for block in tables for row in block.rows)
    return out.getvalue()


def to_json(tables: Sequence[Block], results: Results, about: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The tables, the result of every cell, and what is said `about` all of them."""
    cells = [
        {**asdict(cell.setting), "method": cell.method, "rounds": cell.rounds, **asdict(result)}
        for cell, result in results.items()
    ]
    content = {"tables": [_flat(block, row) for block in tables for row in block.rows], "cells": cells, **about}
    return json.dumps(content, indent=1) + "\n"


def kind_of(method: str) -> str:
    """The kind of a method: "method", "real data", or "reference".

    It is "real data" where real held-back samples train the served model. Mosaic with `VALIDATION_CHOICE` stays a
    "method": only a confusion matrix leaves a client, and it chooses one of a few recipes. Its row has the caveat.
    """
    card = METHODS.get(method)
    if method == CENTRALISED or card is None or card.reference:
        return "reference"
    return "real data" if card.real_data else "method"


def caveat_of(method: str, config: Config, *, encoded: bool = False) -> str:
    """How the conditions of a cell differ from other cells', in words; empty where they do not.

    `encoded`: its data are vectors of a public encoder.
    """
    card = METHODS.get(method)
    encoder = PUBLIC_ENCODER if encoded or (card and card.vectors) else ""
    if card is None:
        return encoder
    has_partial_rounds = config.rounds.kind != "fedavg" and config.rounds.warm_up > 0
    parts = [
        REAL_DATA if kind_of(method) == "real data" else "",
        encoder,
        VALIDATION_CHOICE if card.chooses or (card.fuses and config.distill.choose is True) else "",
        DOUBT_CHOICE if card.fuses and config.distill.choose == "auto" and not card.chooses else "",
        f"up to {config.rounds.warm_up} rounds of trees" if card.boosts else "",
        _widths(config) if card.widths == "always" or (card.widths and has_partial_rounds) else "",
    ]
    return "; ".join(filter(None, parts))


def on_vectors(grid: Grid, results: Results) -> bool:
    """Whether all cells are on vectors: an encoder is named, or a method ran that takes nothing else."""
    ran = {cell.method for cell, result in results.items() if result.status == "done"}
    return bool(grid.base().data.encoder) or any(METHODS[name].vectors for name in ran if name in METHODS)


def own_budget(own: Mapping[str, Any]) -> str:
    """A method's own settings of the clients' work, as "own train.max_steps 500"; empty where it has none."""
    changes = [f"{key} {value}" for key, value in sorted(own.items()) if key.startswith(CLIENT_SETTINGS)]
    return f"own {', '.join(changes)}" if changes else ""


def _widths(config: Config) -> str:
    """The widths that the clients have, as "widths 1 … 1/16"; empty where all have the full one."""
    # A ratio that is no power of two bars the cell. Its text only has to be short.
    ratios = {Fraction(ratio).limit_denominator(100) for ratio in config.models.ratios[: config.partition.clients]}
    if ratios <= {Fraction(1)}:
        return ""
    names = [str(ratio) for ratio in sorted(ratios, reverse=True)]
    return f"width{'s' * (len(names) > 1)} {f'{names[0]} … {names[-1]}' if len(names) > 2 else ', '.join(names)}"


def _block(grid: Grid, results: Results, clients: int, alpha: float, kind: str, rounds: int) -> Block:
    """The table at one point of the axes; `kind` are its architectures."""
    models = grid.base().models
    by_method = dict[str, Row]()
    metric = "accuracy" if grid.metric == "auto" else grid.metric
    scores = dict[str, list[float | None]]()
    encoded = on_vectors(grid, results)
    for method in grid.methods:
        cell_rounds = grid.cell_rounds(method, rounds)
        settings = [Setting(clients, alpha, kind, seed) for seed in grid.seeds]  # type: ignore[arg-type]
        cells = [Cell(setting, method, cell_rounds) for setting in settings]
        cell_results = [results.get(cell) for cell in cells]
        scores[method] = [None if r is None else _score(r, metric) for r in cell_results]
        conditions = caveat_of(method, grid.config(cells[0], models.clients, models.student), encoded=encoded)
        caveat = "; ".join(filter(None, [conditions, own_budget(grid.own_values(method))]))
        by_method[method] = _row(method, cell_results, cell_rounds, caveat)
    against = _reference(by_method.values(), metric)
    rivals = [method for method in by_method if against and method != against]
    differences = correct({method: paired(scores[method], scores[against]) for method in rivals})
    rows = [replace(row, paired=differences.get(method)) for method, row in by_method.items()]
    # The sort is stable: rows without a figure stay in the grid's order.
    rows.sort(key=lambda row: (row.kind == "reference", -(row.score(metric)[0] or -1.0)))
    base = grid.base()
    split = base.partition.split
    return Block(clients, alpha, kind, rounds, against, tuple(rows), split, grid.share, metric, base.run.attack)


def _score(result: CellResult, metric: str) -> float | None:
    """A cell's metric in percent; None where it has none."""
    value = result.accuracy if metric == "accuracy" else (result.quality or {}).get(metric)
    return None if value is None else 100 * value


def _reference(rows: Iterable[Row], metric: str) -> str:
    """The method with which all others are compared; empty where there is none."""
    methods = [row for row in rows if row.accuracy is not None and row.kind == "method"]
    if any(row.method == BASELINE for row in methods):
        return BASELINE
    single_models = [row for row in methods if row.models_served == 1]
    return max(single_models, key=lambda row: row.score(metric)[0] or 0.0).method if single_models else ""


def _row(method: str, cell_results: Sequence[CellResult | None], rounds: int, caveat: str) -> Row:
    results = [r for r in cell_results if r is not None and r.status == "done"]

    def mean(figure: Callable[[CellResult], float | None]) -> float | None:
        values = [value for r in results if (value := figure(r)) is not None]
        return fmean(values) if values else None

    scores = {metric: [value for r in results if (value := _score(r, metric)) is not None] for metric in METRICS}
    figures: dict[str, Any] = {metric: fmean(values) if values else None for metric, values in scores.items()}
    figures |= {f"{metric}_std": stdev(values) if len(values) > 1 else None for metric, values in scores.items()}
    return Row(
        method=method,
        kind=kind_of(method),
        caveat=caveat,
        note=_note(cell_results),
        seeds=len(results),
        **figures,
        log_loss=mean(lambda r: (r.quality or {}).get("log_loss")),
        models_served=mean(lambda r: r.models_served),
        rounds=rounds,
        megabytes_up=mean(lambda r: None if r.bytes_up is None else r.bytes_up / 1e6),
        megabytes_down=mean(lambda r: None if r.bytes_down is None else r.bytes_down / 1e6),
        client_seconds=mean(lambda r: r.client_seconds),
        server_seconds=mean(lambda r: r.server_seconds),
    )


def _note(cell_results: Sequence[CellResult | None]) -> str:
    """What is missing, in words: the number of seeds with a result, where some have none, and the first reason."""
    failures = [r for r in cell_results if r is not None and r.status != "done"]
    reasons = [f"failed: {r.reason}" if r.status == "failed" else r.reason for r in failures]
    count = sum(r is not None and r.status == "done" for r in cell_results)
    seeds = f"{count} of {len(cell_results)} seeds"
    if reasons:
        return f"{seeds}; {reasons[0]}" if count else reasons[0]
    if count == len(cell_results):
        return ""
    return seeds if count else "not run yet"


def _flat(block: Block, row: Row) -> dict[str, Any]:
    """One line of CSV: values by column."""
    alpha = block.alpha if PARTITIONS[block.split].uses_alpha else None
    figures = asdict(row)
    figures.pop("paired")
    return {
        "clients": block.clients,
        "split": block.split,
        "alpha": alpha,
        "architectures": block.architectures,
        "table_rounds": block.rounds,
        **figures,
        "against": block.against if row.paired else "",
        "difference": row.paired.mean if row.paired else None,
        "difference_std": row.paired.std if row.paired else None,
        "p": row.paired.p if row.paired else None,
        "p_holm": row.paired.p_holm if row.paired else None,
        "verdict": row.paired.verdict if row.paired else "",
    }
