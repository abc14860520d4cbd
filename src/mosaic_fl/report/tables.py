"""Tables for the terminal: every predictor's accuracy, and who holds what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text
from torch import Tensor

NONE = "–"
GLOBAL_MODEL = "the one global model"
CEILING = "the ceiling"

_BOLD, _QUIET = "bold", "dim"


@dataclass(frozen=True)
class Row:
    """One predictor of a run: `client` is its index where it is a client's own model, else None."""

    label: str
    model: str
    accuracy: float | None
    client: int | None = None


def rows(result: dict[str, Any]) -> list[tuple[str, float | None]]:
    """The predictors of a run and their test accuracies (fractions), in the order of tables and pictures.

    `result` is the content of `result.json`: the clients' own models, the ensembles, the teacher, the one
    global model and the ceiling. An accuracy that was not measured is None; method `fedavg` has no row for
    what it did not measure.
    """
    return [(row.label, row.accuracy) for row in _predictors(result)]


def accuracy_table(result: dict[str, Any]) -> Table:
    """The table that ends a run: one row a predictor, the one global model in bold.

    `result` is the content of `result.json`; its optional `classes_held` is a list of how many classes
    each client has.
    """
    predictors = _predictors(result)
    held = result.get("classes_held")
    with_models = any(row.model for row in predictors)
    table = Table(title=_title(result), title_justify="left", title_style=_QUIET, header_style=_QUIET)
    table.add_column("predictor", overflow="fold")
    if with_models:
        table.add_column("model", style=_QUIET, overflow="fold")
    table.add_column("samples", justify="right", style=_QUIET)
    if held:
        table.add_column("classes", justify="right", style=_QUIET)
    table.add_column("test accuracy", justify="right")

    samples = result.get("samples") or []
    for row, following in zip(predictors, [*predictors[1:], None], strict=True):
        own = row.client
        name = row.label if own is None else f"client {own}"
        cells = [Text(name)]
        if with_models:
            cells.append(Text(row.model))
        cells.append(Text(f"{samples[own]:,}" if own is not None and own < len(samples) else ""))
        if held:
            cells.append(Text(str(held[own]) if own is not None else ""))
        cells.append(Text(percent(row.accuracy)))
        last_client = own is not None and (following is None or following.client is None)
        style = _BOLD if GLOBAL_MODEL in row.label else _QUIET if CEILING in row.label else None
        table.add_row(*cells, style=style, end_section=last_client)
    return table


def class_table(counts: Tensor, names: Sequence[str], width: int = 80) -> Table:
    """Who holds what: one row a client, one column a class, readable at `width` characters.

    `counts` is int (clients, classes), `names` one name a class. Where the columns do not fit, names are
    shortened, then classes without a common width give way to a list of each client's largest classes.
    """
    table = Table(header_style=_QUIET)
    table.add_column("client", justify="right", style=_QUIET)
    digits = max(len(str(int(counts.max()))) if counts.numel() else 1, 1)
    room = (width - len("│ client ││ samples │")) // max(len(names), 1) - len("  │")
    column = max(digits, min(room, max(len(name) for name in names)))
    totals = counts.sum(1).tolist()
    if room >= max(digits, 2):
        for name in names:
            table.add_column(Text(shorten(name, column)), justify="right", no_wrap=True)
        cells = [[Text(str(n)) if n else Text("·", style=_QUIET) for n in row] for row in counts.tolist()]
    else:
        table.add_column("classes", justify="right")
        table.add_column("largest", no_wrap=True, overflow="ellipsis", ratio=1)
        table.width = width
        room = width - len("│ client │ classes │  │ samples │")
        cells = [[Text(str(int((row > 0).sum()))), _largest(row, names, room)] for row in counts]
    table.add_column("samples", justify="right", style=_QUIET)
    for client, (row, total) in enumerate(zip(cells, totals, strict=True)):
        table.add_row(str(client), *row, f"{total:,}")
    return table


def percent(accuracy: float | None) -> str:
    """A fraction as a percentage with one decimal, as in "97.8 %"; None as an en dash."""
    return NONE if accuracy is None else f"{100 * accuracy:.1f} %"


def shorten(name: str, width: int) -> str:
    """`name` on one line, in at most `width` ≥ 1 characters, cut with an ellipsis."""
    flat = " ".join(name.split())
    return flat if len(flat) <= width else f"{flat[: width - 1].rstrip()}…"


def _predictors(result: dict[str, Any]) -> list[Row]:
    averaged = result.get("method") == "fedavg"
    models: Sequence[str] = result.get("models") or []
    student = str(result.get("student") or "")
    local = [
        Row(f"client {k}{f' · {models[k]}' if k < len(models) else ''}", models[k] if k < len(models) else "", a, k)
        for k, a in enumerate(result.get("local_accuracy") or [])
    ]
    mean_logit = result.get("mean_logit_accuracy", result.get("ensemble_accuracy"))
    own = "averaged model" if averaged else "distilled student"
    same = "same model" if averaged else "same student"
    shared = [
        Row("mean-logit ensemble", "", mean_logit),
        Row("mean-probability ensemble", "", result.get("mean_probability_accuracy")),
        Row("class-weighted ensemble", "", result.get("class_weighted_accuracy")),
        Row("meta-model teacher", "", result.get("teacher_accuracy")),
        Row(f"{own} ({GLOBAL_MODEL})", student, result.get("accuracy")),
        Row(f"{same} on pooled data ({CEILING})", student, result.get("centralised_accuracy")),
    ]
    if averaged:
        return [row for row in local + shared if row.accuracy is not None]
    return local + shared


def _title(result: dict[str, Any]) -> str:
    clients, alpha = result.get("clients"), result.get("alpha")
    parts = [
        str(result.get("data", "")),
        f"{clients} clients" if clients else "",
        f"α = {alpha:g}" if alpha is not None else "",
        f"seed {result['seed']}" if "seed" in result else "",
    ]
    return " · ".join(part for part in parts if part)


def _largest(row: Tensor, names: Sequence[str], width: int) -> Text:
    """The classes with most samples, "name count", as many as `width` characters hold, and how many more."""
    order = row.argsort(descending=True, stable=True)[: int((row > 0).sum())].tolist()
    shown: list[str] = []
    for place, label in enumerate(order):
        more = len(order) - place - 1
        entry = f"{shorten(names[label], 16)} {int(row[label])}"
        if len(", ".join([*shown, entry])) + (len(f" +{more}") if more else 0) > width:
            return Text.assemble(", ".join(shown), (f" +{more + 1}", _QUIET))
        shown.append(entry)
    return Text(", ".join(shown))
