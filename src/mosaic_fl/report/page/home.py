"""What a report says of each site's own held-back data: the shared model and the site's own there, as `cross_site`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mosaic_fl.exchange.score_names import GLOBAL, OWN
from mosaic_fl.report.page.charts import Change


@dataclass(frozen=True)
class Home:
    """One site: the `shared` model and its `own` one on `samples` held-back samples; `why` there are no figures.

    A model is as in the JSON of `exchange/site_scores`, or None.
    """

    client: int
    samples: int | None
    why: str
    shared: Mapping[str, Any] | None
    own: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """The site's name."""
        return f"client {self.client}"

    @property
    def gain(self) -> Change:
        """What it gains, in points with the interval of the paired difference."""
        told = (self.shared or {}).get("gain")
        if not told:
            return Change(self.name, None)
        about = f", of {self.samples or 0:,} samples"
        return Change(self.name, told["points"], told["low"], told["high"], about)

    def gains(self, classes: int) -> list[float | None]:
        """What it gains by class, in points of recall; None of a class that is told together with others, or not."""
        result: list[float | None] = [None] * classes
        if self.shared is None or self.own is None:
            return result
        theirs = {tuple(group["classes"]): group["recall"] for group in self.own["recall"]}
        for group in self.shared["recall"]:
            numbers = tuple(group["classes"])
            if len(numbers) == 1 and numbers in theirs and numbers[0] < classes:
                result[numbers[0]] = 100 * (group["recall"] - theirs[numbers])
        return result


def homes(result: Mapping[str, Any]) -> list[Home]:
    """The sites of the entry `cross_site` of a result; empty without it. Of several shared models it is the first."""
    return [
        Home(
            row["client"],
            row["samples"],
            row.get("why") or "",
            next((model for model in row["models"] if model["model"] == GLOBAL), None),
            next((model for model in row["models"] if model["model"] == OWN), None),
        )
        for row in (result.get("cross_site") or {}).get("sites", [])
    ]
