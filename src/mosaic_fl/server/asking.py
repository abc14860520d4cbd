"""What asking the clients how to teach (`distill.choose`) may have brought where nobody can be asked."""

from dataclasses import dataclass

from mosaic_fl.notes import note
from mosaic_fl.server.recipes import TEACHABLE


@dataclass(frozen=True)
class Trial:
    """A data set whose clients were asked: the recognition of its generators' samples, and two accuracies.

    They are those of short students, of as many steps each, on the clients' validation splits: of the `default` recipe,
    and of the one that was `chosen` as the best there.
    """

    recognised: float
    default: float
    chosen: float


MEASURED = (
    Trial(0.588, 0.4954, 0.4954),
    Trial(0.704, 0.5661, 0.6365),
    Trial(0.729, 0.6935, 0.7269),
    Trial(0.915, 0.9217, 0.9217),
    Trial(0.918, 0.7349, 0.7349),
    Trial(0.937, 0.9414, 0.9456),
)
"""The table of docs/notes/other-data.md, which says which sets they are and how they are printed."""


@dataclass(frozen=True)
class Estimate:
    """What the choice brought to short students on so many `sets` that are alike: points of accuracy."""

    least: float
    most: float
    sets: int


def estimate(recognised: float) -> Estimate:
    """The least and the most that was measured on sets that are, as this one, above or below `TEACHABLE`."""
    alike = [trial for trial in MEASURED if (trial.recognised < TEACHABLE) == (recognised < TEACHABLE)]
    points = [round(100 * (trial.chosen - trial.default), 1) for trial in alike]
    return Estimate(min(points), max(points), len(points))


def tell_of_asking(recognised: float) -> Estimate:
    """The estimate for generators whose samples are `recognised` so far, and a note that says it."""
    gain = estimate(recognised)
    note(
        f"clients' models recognise {recognised:.0%} of what their own generators draw, and nobody could be asked how "
        f"to teach: on {gain.sets} sets like this the clients' choice brought {gain.least} to {gain.most} points to "
        "short students (docs/notes/other-data.md); mosaic deploy asks them"
    )
    return gain
