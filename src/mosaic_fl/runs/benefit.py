"""The benefit of taking part: for each site, the accuracy of the served model against that of the site's own model.

On the test data nearly every site gains, because its own model knows a few classes only. On its own validation data a
site may lose: its own model was trained for such data, and its best step was chosen on that very split, which makes it
look slightly better than it is. Results have both comparisons.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from mosaic_fl.experts.no_model import has_model

SAME = 1e-6  # fractions that differ by less are one figure in two precisions


def own_data(
    alone: Mapping[int, Mapping[str, float]], confusions: Mapping[int, Tensor], clients: int
) -> list[dict[str, Any]]:
    """For each of `clients` sites its validation `samples`, and on them the accuracies `alone` and `together`.

    `alone` are the figures in the contributions. `confusions` (C, C) are those of the global model. Both are by client.
    An accuracy is None where the site did not answer, or has no validation sample. The list is empty where no site has
    both accuracies.
    """
    sites = [_site(alone.get(client, {}), confusions.get(client)) for client in range(clients)]
    comparable = any(site["alone"] is not None and site["together"] is not None for site in sites)
    return sites if comparable else []


def _site(figures: Mapping[str, float], confusion: Tensor | None) -> dict[str, Any]:
    samples = int(figures.get("samples", 0)) if confusion is None else int(confusion.sum())
    together = int(confusion.diagonal().sum()) / samples if confusion is not None and samples else None
    return {"samples": samples, "alone": figures.get("accuracy"), "together": together}


def benefit(
    figures: Mapping[str, Any],
    alone: Mapping[int, Mapping[str, float]],
    confusions: Mapping[int, Tensor],
    models: Sequence[str],
) -> dict[str, Any]:
    """The figures `own_data` and `taking_part` of a run; `figures` are its other ones, `models` the sites' own.

    A site without a model has nothing to compare with.
    """
    compared = {client: values for client, values in alone.items() if has_model(models[client])}
    own = {"own_data": own_data(compared, confusions, len(models))}
    return own | {"taking_part": taking_part({**figures, **own})}


def taking_part(result: Mapping[str, Any]) -> dict[str, Any]:
    """`test` and `own`: how many sites `gain`, `lose`, are the `same` or `unknown`, and each one's `points`.

    `result` is the content of `result.json`. A site's points are the served model's accuracy minus that of its own, in
    percentage points; None where one of them is unknown. A comparison that was not measured is absent.
    """
    views = {}
    local = result.get("local_accuracy") or []
    accuracy = result.get("accuracy")
    if local and accuracy is not None:
        views["test"] = _summary([None if own is None else accuracy - own for own in local])
    if own := result.get("own_data"):
        views["own"] = _summary([_difference(site) for site in own])
    return views


def _difference(site: Mapping[str, Any]) -> float | None:
    comparable = site["alone"] is not None and site["together"] is not None
    return site["together"] - site["alone"] if comparable else None


def _summary(differences: Sequence[float | None]) -> dict[str, Any]:
    values = [difference for difference in differences if difference is not None]
    gain = sum(d > SAME for d in values)
    lose = sum(d < -SAME for d in values)
    return {
        "gain": gain,
        "lose": lose,
        "same": len(values) - gain - lose,
        "unknown": len(differences) - len(values),
        "points": [None if d is None else round(100 * d, 2) for d in differences],
    }
