"""How many terms a student learns for: it goes on while it does not follow its teacher yet, and still gains.

A term has `distill.steps` steps on samples of its own. New samples teach; another look at old ones does not
(docs/notes/labels-and-teacher.md).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

AGREEMENT = "holdout_agreement"  # the figure: the share of the hold-out on which a student agrees with its teacher
FOLLOWS = 0.9  # agreement from which on a student needs no other term
LEAST_GAIN = 0.02  # by which a term must lower the hold-out's loss, as a share of it, for another one


@dataclass(frozen=True)
class Term:
    """A student after a term: its `figures` on the hold-out, empty without one, and its `score` where one judged it."""

    figures: Mapping[str, float]
    score: float | None = None

    @property
    def loss(self) -> float:
        """Its distillation loss on the hold-out; infinite without one."""
        return self.figures.get("holdout_loss", math.inf)

    def beats(self, other: "Term") -> bool:
        """Whether it is better than `other`: by the judge's score, and where that is equal or missing by its loss."""
        if self.score is not None and other.score is not None and self.score != other.score:
            return self.score > other.score
        return self.loss < other.loss


def goes_on(terms: Sequence[Term]) -> bool:
    """Whether another term is worth its seconds, after these.

    After the first it is where the student does not follow its teacher. After a later one it is where this one beat all
    before it, by a lower loss that is lower by `LEAST_GAIN` at least where nobody judges.
    """
    latest = terms[-1]
    blind = not latest.figures and latest.score is None
    if blind or latest.figures.get(AGREEMENT, 0.0) >= FOLLOWS:
        return False
    if len(terms) == 1:
        return True
    if not all(latest.beats(term) for term in terms[:-1]):
        return False
    return latest.score is not None or latest.loss < (1 - LEAST_GAIN) * min(term.loss for term in terms[:-1])
