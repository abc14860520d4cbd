"""Generators whose samples of a class are all the same: a student learns little from one picture a class.

How far samples of a class vary follows from the class, so a client is compared with the class's other holders alone.
Between honest holders it differs threefold (docs/notes/hostile.md). Of few samples a generator may draw one alone.
"""

from collections.abc import Set as AbstractSet

import torch
from torch import Tensor

from mosaic_fl.server.trust.survey import Survey

ALIKE = 0.05  # of the other holders' variance: below it samples are as good as one
OTHERS = 2  # holders whose samples show how far those of a class vary
CLAIMED = 10  # samples of a class from which this is looked for
DRAWN = 2  # samples of a class, of which a variance can be seen


def collapsed(survey: Survey, doubted: AbstractSet[tuple[int, int]] = frozenset()) -> set[int]:
    """The places of clients whose generators draw the same again and again of a class; of samples of one field alone.

    Compared is with the median of the other holders but those that are `doubted`, (place, class), there. Where they are
    even in number it is the lower one: of two both must vary more, so one that draws noise takes nobody's generator.
    """
    if survey.samples is None or len(survey.samples.kinds) > 1:
        return set()
    variances = _variances(survey)
    places = set[int]()
    for label in range(variances.shape[1]):
        holders = (~variances[:, label].isnan()).nonzero().flatten().tolist()
        for k in holders:
            others = sorted(float(variances[j, label]) for j in holders if j != k and (j, label) not in doubted)
            if len(others) < OTHERS or int(survey.counts[k, label]) < CLAIMED:
                continue
            if float(variances[k, label]) < ALIKE * others[(len(others) - 1) // 2]:
                places.add(k)
    return places


def _variances(survey: Survey) -> Tensor:
    """The mean variance of the numbers of each client's samples of a class, double (K, C); NaN where it drew none."""
    assert survey.samples is not None
    (name,) = survey.samples.kinds
    values = survey.samples.values[name].flatten(1).double()
    clients, classes = survey.counts.shape
    variances = torch.full((clients, classes), torch.nan, dtype=torch.float64)
    for k, label in (survey.drawn >= DRAWN).nonzero().tolist():
        shown = values[(survey.sources == k) & (survey.labels == label)]
        variances[k, label] = shown.var(0, correction=0).mean()
    return variances
