"""Who gains and who loses by taking part: what serves, beside the model that each site trained itself.

On the test data of all sites nearly everybody gains, who alone has seen a few classes only. On its own data a site may
lose: its own model was made for those, and chosen on that very split, which flatters it a little. Both are told.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

SAME = 1e-6  # fractions that differ by less are one figure in two precisions


def own_data(
    alone: Mapping[int, Mapping[str, float]], confusions: Mapping[int, Tensor], clients: int
) -> list[dict[str, Any]]:
    """For each of `clients` sites its validation `samples`, and on them the accuracies `alone` and `together`.

    `alone` are the figures in the contributions, `confusions` (C, C) those of the one global model, both by client.
    An accuracy is None where the site did not answer, or has no validation sample. Empty where nobody has both.
    """
    sites = [_site(alone.get(client, {}), confusions.get(client)) for client in range(clients)]
    known = any(site["alone"] is not None and site["together"] is not None for site in sites)
    return sites if known else []


def _site(figures: Mapping[str, float], confusion: Tensor | None) -> dict[str, Any]:
    samples = int(figures.get("samples", 0)) if confusion is None else int(confusion.sum())
    together = int(confusion.diagonal().sum()) / samples if confusion is not None and samples else None
    return {"samples": samples, "alone": figures.get("accuracy"), "together": together}


def benefit(
    figures: Mapping[str, Any],
    alone: Mapping[int, Mapping[str, float]],
    confusions: Mapping[int, Tensor],
    clients: int,
) -> dict[str, Any]:
    """`own_data` and `taking_part`, beside the other `figures` of a run whose clients were asked what they see."""
    own = {"own_data": own_data(alone, confusions, clients)}
    return own | {"taking_part": taking_part({**figures, **own})}


def taking_part(result: Mapping[str, Any]) -> dict[str, Any]:
    """`test` and `own`: how many sites `gain`, `lose`, are the `same` or `unknown`, and each one's `points`.

    `result` is the content of `result.json`. A site's points are the percentage points that it has more with what
    serves than alone, None where that is not known. What nobody measured is left out.
    """
    views = {}
    local = result.get("local_accuracy") or []
    accuracy = result.get("accuracy")
    if local and accuracy is not None:
        views["test"] = _counted([None if own is None else accuracy - own for own in local])
    if own := result.get("own_data"):
        views["own"] = _counted([_difference(site) for site in own])
    return views


def _difference(site: Mapping[str, Any]) -> float | None:
    known = site["alone"] is not None and site["together"] is not None
    return site["together"] - site["alone"] if known else None


def _counted(differences: Sequence[float | None]) -> dict[str, Any]:
    known = [difference for difference in differences if difference is not None]
    gain = sum(d > SAME for d in known)
    lose = sum(d < -SAME for d in known)
    return {
        "gain": gain,
        "lose": lose,
        "same": len(known) - gain - lose,
        "unknown": len(differences) - len(known),
        "points": [None if d is None else round(100 * d, 2) for d in differences],
    }
