"""The choices of one distillation: who may teach, who is asked, which recipes are tried. Rows have their own."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.server.recipes import Recipe, best_teacher, candidates, is_in_doubt, needs_meta, tried_teachers
from mosaic_fl.server.recognition import Recognition
from mosaic_fl.server.row_recipes import row_candidates, row_recipe, row_teacher, tried_row_teachers
from mosaic_fl.server.teachers import MOMENTS


@dataclass(frozen=True)
class Choices:
    """What decides: settings, schema, the `measure` of the generators, and the clients' class `weights` (K, C).

    `gate` says whether there can be a gate on sources, `judged` whether clients can be asked, `moments` whether
    clients told class moments.
    """

    settings: DistillConfig
    schema: Schema
    measure: Recognition | None
    weights: Tensor
    gate: bool
    judged: bool
    moments: bool = False

    @property
    def asked(self) -> bool:
        """Whether clients are asked how to teach."""
        if not self.judged:
            return False
        if (self.schema.of_rows or self.schema.joins) and self.settings.choose == "auto":
            return bool(self.settings.both)
        return is_in_doubt(self.settings, self.measure)

    @property
    def needs_meta(self) -> bool:
        """Whether the meta model may teach. Of rows it may where clients are asked, or where it is named."""
        if not self.schema.of_rows:
            return needs_meta(self.settings, self.schema, self.measure)
        settings = self.settings
        open_to_all = settings.teacher == "auto" and not settings.candidates and self.asked
        return open_to_all or "meta" in (settings.teacher, *settings.candidates)

    def best(self, *, meta: bool) -> str:
        """The teacher that `distill.teacher = auto` means; `meta` says whether there is a meta model."""
        if self.schema.of_rows:
            return MOMENTS if self.moments else row_teacher(self.weights, gate=self.gate)
        return best_teacher(self.settings, self.schema, self.measure, meta=meta)

    def tried(self, best: str, *, meta: bool) -> list[str]:
        """The teachers that short students are taught by."""
        if self.schema.of_rows:
            return tried_row_teachers(self.settings, best, gate=self.gate, meta=meta)
        return tried_teachers(self.settings, best)

    def default(self, best: str, measured: Recipe) -> Recipe:
        """The recipe where nobody is asked; `measured` is the one whose labels count as is measured."""
        return row_recipe(self.settings, best) if self.schema.of_rows else measured

    def candidates(self, default: Recipe, tried: Sequence[str], *, labelled: bool) -> list[Recipe]:
        """The recipes worth a try; `labelled` says whether there are samples with labels."""
        if self.schema.of_rows and labelled:
            return row_candidates(default, tried)
        return candidates(default, tried, labelled=labelled)
