"""The table of models by sites in words and for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from mosaic_fl.exchange.score_names import GLOBAL, OWN

NONE = "–"
SHORT = 8  # characters of a model's SHA-256
MOST_CLASSES = 30  # that are listed
NAMES = {GLOBAL: "global model", OWN: "its own model"}


def names_of(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of models; of several global ones each with the begin of its SHA-256."""
    several = sum(model["model"] == GLOBAL for model in models) > 1
    short = [f" {model['digest'][:SHORT]}" if several and model["model"] == GLOBAL else "" for model in models]
    return [f"{NAMES[model['model']]}{more}" for model, more in zip(models, short, strict=True)]


def score_table(models: Sequence[Mapping[str, Any]], samples: int) -> Table:
    """One row a model that a site scored on so many `samples`, as in its JSON."""
    table = Table(box=box.SIMPLE_HEAD, title=Text(f"{samples:,} samples held back"))
    for name in ("model", "accuracy", "95 % interval", "AUROC", "calibration error"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for name, model in zip(names_of(models), models, strict=True):
        table.add_row(
            name, _percent(model["accuracy"]), _interval(model), _figure(model["auroc"]), _figure(model["ece"])
        )
    return table


def recall_table(models: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> Table:
    """One row a class or group of classes, with its samples and what each model recognises of it."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("class", "samples", *names_of(models)):
        table.add_column(name, justify="left" if name == "class" else "right")
    groups = models[0]["recall"]
    for place, group in enumerate(groups[:MOST_CLASSES]):
        recalls = [_percent(model["recall"][place]["recall"]) for model in models]
        table.add_row(Text(group_name(group["classes"], classes)), f"{group['samples']:,}", *recalls)
    if len(groups) > MOST_CLASSES:
        table.add_row("…", "", *([""] * len(models)))
    return table


def withheld_line(models: Sequence[Mapping[str, Any]], classes: Sequence[str], least: int) -> str:
    """Which classes have no figure of their own; empty where all have one."""
    for group in models[0]["recall"]:
        if len(group["classes"]) > 1:
            names = group_name(group["classes"], classes)
            return f"{names} are told together: of some of them fewer than {least} samples are held back, or none"
    return ""


def group_name(numbers: Sequence[int], classes: Sequence[str]) -> str:
    """As "cat" or "cat, dog"; of many the first ones."""
    names = [classes[number] for number in numbers]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def cross_site_table(entry: Mapping[str, Any]) -> Table:
    """The entry `cross_site` of a result: one row a site, with the accuracy of each model there and what it gains."""
    digests = list(dict.fromkeys(m["digest"] for s in entry["sites"] for m in s["models"] if m["model"] == GLOBAL))
    several = len(digests) > 1
    heads = [f"global model{f' {digest[:SHORT]}' if several else ''}" for digest in digests]
    table = Table(box=box.SIMPLE_HEAD, title=Text("Accuracy on the samples that each site held back"))
    for name in ("site", "samples", *heads, "its own model", "gain, points"):
        table.add_column(name, justify="left" if name == "site" else "right", overflow="fold")
    for site in entry["sites"]:
        shared = {model["digest"]: model for model in site["models"] if model["model"] == GLOBAL}
        own = next((model for model in site["models"] if model["model"] == OWN), None)
        gains = [model["gain"] for model in shared.values() if model["gain"]]
        gain = f"{gains[0]['points']:+.1f} ({gains[0]['low']:+.1f} to {gains[0]['high']:+.1f})" if gains else NONE
        cells = [_with_interval(shared.get(digest)) for digest in digests]
        samples = NONE if site["samples"] is None else f"{site['samples']:,}"
        table.add_row(f"client {site['client']}", samples, *cells, _with_interval(own), gain)
    return table


def cross_site_lines(entry: Mapping[str, Any]) -> list[str]:
    """Why sites have no scores, one line each."""
    return [f"client {site['client']} has no scores: {site['why']}" for site in entry["sites"] if site["why"]]


def _with_interval(model: Mapping[str, Any] | None) -> str:
    return NONE if model is None else f"{_percent(model['accuracy'])} ({_interval(model)})"


def _interval(model: Mapping[str, Any]) -> str:
    return f"{100 * model['low']:.1f} to {100 * model['high']:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _figure(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"
