"""Tables for the terminal: the accuracy of every predictor, and the classes at each client."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text
from torch import Tensor

from mosaic_fl.storage.journal import ROUND

NONE = "–"
GLOBAL_MODEL = "the one global model"
ENSEMBLE = "ensemble of"
CEILING = "the ceiling"
LONGEST_NAME = 12  # characters of a class name in a list of names
WIDTH = 80  # characters of a terminal


def rows(result: dict[str, Any]) -> list[tuple[str, float | None]]:
    """The predictors of a run and their test accuracies (fractions), in the order of tables and pictures.

    `result` is the content of `result.json`. First there is one row for each client, "client K · MODEL", where K is its
    number in `contributors` or else its index. Then come the ensembles, the teacher, the served model and the ceiling.
    An accuracy without a measurement is None, for example that of a client that did not contribute. Of methods other
    than Mosaic, the shared rows without a measurement are left out.
    """
    models = result.get("models") or []
    names = [f" · {model}" for model in models]
    local = result.get("local_accuracy") or []
    names += [""] * (len(local) - len(names))
    numbers = result.get("contributors") or range(len(local))
    clients = [(f"client {k}{name}", own) for k, name, own in zip(numbers, names, local, strict=False)]
    mosaic = result.get("method", "mosaic") == "mosaic"
    pooled = "same student" if mosaic else "one model"
    shared = [
        ("mean-logit ensemble", result.get("ensemble_accuracy")),
        ("mean-probability ensemble", result.get("mean_probability_accuracy")),
        ("class-weighted ensemble", result.get("class_weighted_accuracy")),
        (_teacher(result), result.get("teacher_accuracy")),
        (_service(result, mosaic=mosaic), result.get("accuracy")),
        (f"{pooled} on pooled data ({CEILING})", result.get("centralised_accuracy")),
    ]
    return clients + [(label, value) for label, value in shared if value is not None or mosaic]


def serves(label: str) -> bool:
    """Whether `label` is that of the model in service: the one global model, or an ensemble."""
    return label.endswith(f"({GLOBAL_MODEL})") or f"({ENSEMBLE} " in label


def _service(result: dict[str, Any], *, mosaic: bool) -> str:
    name = "distilled student" if mosaic else result.get("title") or result["method"]
    models = result.get("models_served") or 1
    return f"{name} ({GLOBAL_MODEL if models == 1 else f'{ENSEMBLE} {models} models'})"


def _teacher(result: dict[str, Any]) -> str:
    name = (result.get("choice") or {}).get("teacher", "meta")
    return "meta-model teacher" if name == "meta" else f"{name.replace('_', '-')} teacher"


def accuracy_table(result: dict[str, Any]) -> Table:
    """The table that ends a run: one row for each predictor, in the order of `rows`; the model in service is bold.

    `result` is the content of `result.json`. If it has `classes_held`, the number of classes of each client, the
    table has a column for it.
    """
    table = _table(title=Text(_title(result)))
    table.add_column("model", overflow="fold")
    figures = [
        (heading, [f"{n:,}" for n in result[key]])
        for heading, key in (("samples", "samples"), ("classes", "classes_held"))
        if result.get(key)
    ]
    for heading, _ in figures:
        table.add_column(heading, justify="right", style="dim")
    table.add_column("test accuracy", justify="right", no_wrap=True)

    clients = len(result.get("local_accuracy") or [])
    for place, (label, accuracy) in enumerate(rows(result)):
        own = [column[place] if place < min(clients, len(column)) else "" for _, column in figures]
        style = "bold" if serves(label) else "dim" if CEILING in label else None
        table.add_row(Text(label), *own, percent(accuracy), style=style, end_section=place == clients - 1)
    return table


def class_table(counts: Tensor, names: Sequence[str]) -> Table:
    """The samples of each class at each client: one row a client, one column a class, within 80 characters.

    `counts` is int (clients, classes), `names` has one name for each class. Names that do not fit are cut. If the
    counts do not fit either, there is a list of each client's largest classes instead.
    """
    digits = len(str(int(counts.max())))
    totals = [f"{n:,}" for n in counts.sum(1).tolist()]
    table = _table()
    table.add_column("client", justify="right", style="dim")
    room = WIDTH - 2 - (len("client") + 2) - (max(len("samples"), *map(len, totals)) + 2)
    column = room // len(names) - 2
    if column >= digits:
        for name in names:
            table.add_column(Text(shorten(name, column)), justify="right", no_wrap=True)
        cells = [[Text(str(n)) if n else Text("·", "dim") for n in row] for row in counts.tolist()]
    else:
        table.add_column("classes", justify="right")
        table.add_column("the largest", no_wrap=True)
        room -= len("classes") + 4
        cells = [[Text(str(sum(n > 0 for n in row))), _largest(row, names, room)] for row in counts.tolist()]
    table.add_column("samples", justify="right", style="dim")
    for client, total in enumerate(totals):
        table.add_row(str(client), *cells[client], total)
    return table


def seconds_line(seconds: Mapping[str, float]) -> str:
    """The times of a run, from `seconds` in `result.json`, with all rounds as one: "Seconds: pool 0.4 + … = 70.8"."""
    rounds = {name: cost for name, cost in seconds.items() if name.startswith(ROUND)}
    stages = {name: cost for name, cost in seconds.items() if name not in rounds and name != "total"}
    if rounds:
        stages = {f"{len(rounds)} round{'s' * (len(rounds) > 1)}": sum(rounds.values()), **stages}
    parts = " + ".join(f"{name} {cost:.1f}" for name, cost in stages.items())
    return f"Seconds: {parts} = {seconds['total']:.1f}"


def percent(accuracy: float | None) -> str:
    """A fraction as a percentage with one decimal, as in "97.8 %"; None as an en dash."""
    return NONE if accuracy is None else f"{100 * accuracy:.1f} %"


def shorten(name: str, width: int) -> str:
    """`name` on one line, in at most `width` ≥ 1 characters, cut with an ellipsis."""
    flat = " ".join(name.split())
    return flat if len(flat) <= width else f"{flat[: width - 1].rstrip()}…"


def _table(title: Text | None = None) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="dim",
        header_style="dim",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )


def _title(result: dict[str, Any]) -> str:
    parts = {
        "{}": result.get("data"),
        "{} clients": result.get("clients"),
        "α = {:g}": None if result.get("split") == "by_column" else result.get("alpha"),
        "seed {}": result.get("seed"),
        "global model {}": result.get("student"),
    }
    return " · ".join(form.format(value) for form, value in parts.items() if value is not None)


def _largest(row: Sequence[int], names: Sequence[str], width: int) -> Text:
    """The classes with most samples, as many as fit in `width` characters, and the number of the others."""
    order = sorted((c for c in range(len(row)) if row[c]), key=lambda c: -row[c])
    text = Text()
    for place, label in enumerate(order):
        entry = Text.assemble(", " if place else "", shorten(names[label], LONGEST_NAME), (f": {row[label]}", "dim"))
        more = f" and {len(order) - place - 1} more" if place + 1 < len(order) else ""
        if len(text) + len(entry) + len(more) > width:
            return text.append(f" and {len(order) - place} more", "dim")
        text.append(entry)
    return text
