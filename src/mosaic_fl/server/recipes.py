"""Which teacher, and how much of the generators' labels: decided by measurement (docs/method.md, lessons 3 and 5).

Where data is extremely uneven the generator's label beats the teacher, else the teacher beats the label; where
generators are weak the class-weighted ensemble beats the meta model. So a few short students are trained, one a
recipe, and a judge who is not the server's own belief scores them: the clients, on their validation splits. Where
nobody judges, the teacher counts as far as the clients share their classes (`given_recipe`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.server.transfer import has_prior

LABEL_SHARES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Recipe:
    """`teacher` is a registered teacher; `label` in 0..1 is the label's share of the loss, the teacher has the rest."""

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


def given_recipe(config: DistillConfig, best: str, shared: float) -> Recipe:
    """The recipe that `config` says, with `best` where it leaves the teacher open.

    Where both teach and `config.overlap` is on, the teacher's share is multiplied by `shared`, the classes' `overlap`
    in 0..1: two classes that no client holds together nobody has told apart on real data, and the teacher's word on
    them is worth less than the label of a generated sample (docs/notes/labels-and-teacher.md).
    """
    total = config.kl + config.label
    label = config.label / total if total else 0.0
    if config.overlap and label:
        label = 1 - (1 - label) * shared
    return Recipe(best if config.teacher == "auto" else config.teacher, label)


def needs_meta(config: DistillConfig, schema: Schema) -> bool:
    """Whether the meta model may teach. Where prior images serve, the class-balanced ensemble does, unless told.

    The meta model learns from generators' samples alone, so weak generators make a weak one. On three sets of colour
    images the class-balanced ensemble gave students that were 1 to 10 points better (docs/notes/other-data.md).
    """
    if config.teacher == "auto" and not has_prior(config, schema):
        return True
    return "meta" in (config.teacher, *config.candidates)


def best_teacher(config: DistillConfig, schema: Schema, *, meta: bool) -> str:
    """The teacher that `distill.teacher = auto` means; `meta` says whether there is a meta model."""
    if has_prior(config, schema):
        return "class_balanced"
    return "meta" if meta else "class_weighted"


def overlap(weights: Tensor) -> float:
    """How alike the classes are spread over the clients, 0..1, from `weights` (K, C), α[k, y] = n_k[y] / Σ_j n_j[y].

    Mean over all pairs of classes a ≠ b that somebody holds of Σ_k min(α[k, a], α[k, b]), which is 1 − the total
    variation distance of their two distributions over clients. 1 where all are spread alike, and for a single class; 0
    where no client holds two.
    """
    shares = weights[:, weights.sum(0) > 0].double()
    classes = shares.shape[1]
    if classes < 2:
        return 1.0
    # A client at a time: many clients and classes at once would fill the memory.
    alike = sum((torch.minimum(row[:, None], row[None]) for row in shares), shares.new_zeros(()))
    return min(1.0, round(float(alike.sum() - alike.trace()) / (classes * (classes - 1)), 6))


def candidates(config: DistillConfig, best: str, *, labelled: bool) -> list[Recipe]:
    """The recipes worth a try: each teacher alone and with labels, and labels alone, where there are any.

    Labels count half in them, whatever the overlap: the judge's scores decide.
    """
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
