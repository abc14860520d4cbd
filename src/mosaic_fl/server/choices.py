"""The choices of one distillation: who may teach, who is asked, which recipes are tried. Rows have their own.

Where clients of pictures told class moments in the space of a public encoder, the product of their discriminant with
the mixture of experts teaches, and labels of generators count nothing: whatever the split, this teacher knows all
classes from real samples. Clients that can be asked compare it with the discriminant alone, and with the usual teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.server.recipes import Recipe, best_teacher, candidates, is_in_doubt, needs_meta, tried_teachers
from mosaic_fl.server.recognition import Recognition
from mosaic_fl.server.row_recipes import row_candidates, row_recipe, row_teacher, tried_row_teachers
from mosaic_fl.server.teachers import MOMENTS

HALF = 0.5


@dataclass(frozen=True)
class Choices:
    """What decides: settings, schema, the `measure` of the generators, and the clients' class `weights` (K, C).

    `gate` says whether there can be a gate on sources, `judged` whether clients can be asked, `moments` whether
    clients told class moments of vectors, `features` names
    the teacher of those that clients told of pictures in the space of a public encoder, empty where they told none.
    """

    settings: DistillConfig
    schema: Schema
    measure: Recognition | None
    weights: Tensor
    gate: bool
    judged: bool
    moments: bool = False
    features: str = ""

    @property
    def asked(self) -> bool:
        """Whether clients are asked how to teach."""
        if not self.judged:
            return False
        if (self.schema.of_rows or self.schema.joins) and self.settings.choose == "auto":
            return bool(self.settings.both)
        if self.features and self.settings.choose == "auto":
            return bool(self.settings.both) and self._open
        return is_in_doubt(self.settings, self.measure)

    @property
    def _open(self) -> bool:
        """Whether the settings leave the teacher open."""
        return self.settings.teacher == "auto" and not self.settings.candidates

    @property
    def needs_meta(self) -> bool:
        """Whether the meta model may teach. Of rows it may where clients are asked, or where it is named."""
        if self.features and self._open and not self.asked:
            return False
        if not self.schema.of_rows:
            return needs_meta(self.settings, self.schema, self.measure)
        settings = self.settings
        return (self._open and self.asked) or "meta" in (settings.teacher, *settings.candidates)

    def best(self, *, meta: bool) -> str:
        """The teacher that `distill.teacher = auto` means; `meta` says whether there is a meta model."""
        if self.schema.of_rows:
            return MOMENTS if self.moments else row_teacher(self.weights, gate=self.gate)
        return self.features or self._usual(meta=meta)

    def _usual(self, *, meta: bool) -> str:
        """The teacher of samples with a layout, without moments."""
        return best_teacher(self.settings, self.schema, self.measure, meta=meta)

    def tried(self, best: str, *, meta: bool) -> list[str]:
        """The teachers that short students are taught by."""
        if self.schema.of_rows:
            return tried_row_teachers(self.settings, best, gate=self.gate, meta=meta)
        if self.features and self._open:
            return [best] if best == MOMENTS else [best, MOMENTS, self._usual(meta=meta)]
        return tried_teachers(self.settings, best)

    def default(self, best: str, measured: Recipe) -> Recipe:
        """The recipe where nobody is asked; `measured` is the one whose labels count as is measured."""
        if self.features and self.settings.teacher == "auto":
            return Recipe(best, 0.0)
        return row_recipe(self.settings, best) if self.schema.of_rows else measured

    def candidates(self, default: Recipe, tried: Sequence[str], *, labelled: bool) -> list[Recipe]:
        """The recipes worth a try; `labelled` says whether there are samples with labels."""
        if self.schema.of_rows and labelled:
            return row_candidates(default, tried)
        if self.features and self._open and labelled:
            return feature_candidates(default, tried)
        return candidates(default, tried, labelled=labelled)


def feature_candidates(default: Recipe, tried: Sequence[str]) -> list[Recipe]:
    """The `default`, the same with labels that count half; the others of `tried` alone, the last with labels, too."""
    own = [default, Recipe(default.teacher, HALF)]
    others = [teacher for teacher in tried if teacher != default.teacher]
    if not others:
        return own
    return [*own, *(Recipe(teacher, 0.0) for teacher in others[:-1]), Recipe(others[-1], HALF)]
