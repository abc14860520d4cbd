"""Which teacher, and how much of the generators' labels: decided by measurement (METHOD: lessons 3 and 5).

Where data is extremely uneven the generator's label beats the teacher, else the teacher beats the label; where
generators are weak the class-weighted ensemble beats the meta model. So a few short students are trained, one a
recipe, and a judge who is not the server's own belief scores them: the clients, on their validation splits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mosaic_fl.config import DistillConfig

LABEL_SHARES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Recipe:
    """`teacher` is one of `TEACHERS`; `label` in 0..1 is the label's share of the loss, the teacher has the rest."""

    teacher: str
    label: float

    @property
    def name(self) -> str:
        """A short name, as in a table."""
        return f"{self.teacher}-{round(100 * self.label)}"

    def applied(self, config: DistillConfig) -> DistillConfig:
        """`config` with this recipe's weights, which sum to that of its KL and label terms."""
        total = config.kl + config.label
        return config.model_copy(update={"kl": total * (1 - self.label), "label": total * self.label})


def given_recipe(config: DistillConfig, best: str) -> Recipe:
    """The recipe that `config` says, with `best` where it leaves the teacher open."""
    total = config.kl + config.label
    return Recipe(best if config.teacher == "auto" else config.teacher, config.label / total if total else 0.0)


def candidates(config: DistillConfig, best: str, *, labelled: bool) -> list[Recipe]:
    """The recipes worth a try: each teacher alone and with labels, and labels alone, where there are any."""
    teachers: list[str] = [best, "class_weighted"] if config.teacher == "auto" else [config.teacher]
    teachers = list(config.candidates) or teachers
    mixed = [Recipe(t, share) for t in dict.fromkeys(teachers) for share in (LABEL_SHARES[:2] if labelled else (0.0,))]
    return [*mixed, Recipe(best, 1.0)] if labelled else mixed


def choose(
    recipes: Sequence[Recipe], score: Callable[[Recipe], float | None], given: Recipe | None = None
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with the highest score, the first of equals, and what was measured, for the report.

    A score is None where nobody judged. Where nobody judged any recipe it is the `given` one, or else the first.
    """
    scores = {recipe: score(recipe) for recipe in recipes}
    judged = {recipe: value for recipe, value in scores.items() if value is not None}
    best = max(judged, key=lambda recipe: judged[recipe]) if judged else given or recipes[0]
    report = {"teacher": best.teacher, "label": best.label}
    return best, report | {"validation": {recipe.name: scores[recipe] for recipe in recipes}}
