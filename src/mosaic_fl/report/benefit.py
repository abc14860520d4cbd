"""The sites that gain and the sites that lose by taking part: the lines that end a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from mosaic_fl.experts.no_model import has_model

MOST_NAMES = 8  # of clients in one line
NEAR = 0.005  # points; closer figures are printed as one


def benefit_lines(result: Mapping[str, Any]) -> list[str]:
    """One line for each kind of data with a comparison; a line that says so if there is no comparison.

    `result` is the content of `result.json`.
    """
    views = result.get("taking_part") or {}
    numbers = result.get("contributors") if result.get("data") is None else None
    lines = []
    if test := views.get("test"):
        lines.append(f"Taking part, on all sites' test data: {_words(test, 'no model of its own', numbers)}")
    if own := views.get("own"):
        samples = [site["samples"] for site in result["own_data"] if site["samples"]]
        line = f"Taking part, on their own validation data ({_samples(samples)}): "
        lines.append(line + _words(own, "no validation sample, or no answer", numbers))
    if not lines and (result.get("accuracy") is not None or result.get("validation_accuracy") is not None):
        name = result.get("title") or result.get("method", "the method")
        lines.append(f"Who gains or loses by taking part is not known: {name} has no models of sites alone to compare")
    return lines


def own_figure(model: str, validation: Mapping[str, float]) -> str:
    """The accuracy of a site's `model` in its own `validation` figures, with its limits, as one sentence."""
    if not has_model(model):
        return "No model leaves the site, so there is none to measure on its own data"
    if not validation.get("samples"):
        return "Nothing was held back to measure the model on its own data"
    percent = f"{100 * validation['accuracy']:.1f} %"
    samples = _samples([int(validation["samples"])]).removesuffix(" each")
    return f"The model is right on {percent} of its own data ({samples} held back): on other sites' it may be far worse"


def _samples(samples: Sequence[int]) -> str:
    least = min(samples)
    most = max(samples)
    return f"{least} sample{'s' * (least != 1)} each" if least == most else f"{least} to {most} samples each"


def _words(view: Mapping[str, Any], unknown: str, numbers: Sequence[int] | None) -> str:
    """As "1 of 4 sites gains (by 2.0 points), 3 lose (clients 0, 2, 3, by 3.1 to 13.2 points)"."""
    points = dict(zip(numbers or range(len(view["points"])), view["points"], strict=False))
    count = len(points)
    parts = []
    if view["gain"]:
        parts.append((view["gain"], "gain", f"by {_span([p for p in points.values() if p is not None and p > 0])}"))
    if view["lose"]:
        losers = {client: -p for client, p in points.items() if p is not None and p < 0}
        parts.append((view["lose"], "lose", f"{_names(list(losers))}by {_span(list(losers.values()))}"))
    if view["same"]:
        parts.append((view["same"], "stay", "the same figure"))
    if view["unknown"]:
        parts.append((view["unknown"], "cannot tell", unknown))
    first = f"{parts[0][0]} of {count} site{'s' * (count != 1)}"
    heads = [first, *(str(number) for number, *_ in parts[1:])]
    return ", ".join(
        f"{head} {_verb(verb, number)} ({more})" for head, (number, verb, more) in zip(heads, parts, strict=True)
    )


def _verb(verb: str, count: int) -> str:
    return f"{verb}s" if count == 1 and verb != "cannot tell" else verb


def _names(clients: Sequence[int]) -> str:
    if len(clients) > MOST_NAMES:
        return ""
    return f"client{'s' * (len(clients) > 1)} {', '.join(map(str, clients))}, "


def _span(points: Sequence[float]) -> str:
    least = min(points)
    most = max(points)
    if most - least < NEAR or f"{least:.1f}" == f"{most:.1f}":
        return f"{most:.1f} points"
    return f"{least:.1f} to {most:.1f} points"
