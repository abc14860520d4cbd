"""Which teacher, and how much label, where samples are rows: other recipes than for images (docs/notes/tables.md).

What experts recognise of rows says as much of how far classes overlap as of generators, so it decides nothing here. No
teacher serves everywhere: the gate on sources is far ahead where clients' classes lie apart, and behind where clients
differ in their population. So clients are asked wherever they can be.
"""

from collections.abc import Sequence

from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.server.recipes import Recipe, overlap
from mosaic_fl.server.teachers import GATE

ENSEMBLES = ("mean_probabilities", "class_balanced", "class_weighted")
APART = 0.5  # overlap of the clients' classes below which a gate teaches


def row_teacher(weights: Tensor, *, gate: bool) -> str:
    """The teacher that `distill.teacher = auto` means; `gate` says whether there can be a gate.

    It is the gate where the classes of the clients, whose class weights are `weights` (K, C), lie apart.
    """
    return GATE if gate and overlap(weights) < APART else "mean_probabilities"


def tried_row_teachers(config: DistillConfig, best: str, *, gate: bool, meta: bool) -> list[str]:
    """The teachers that short students are taught by: those of `config`, or for auto `best` and all that there are."""
    if config.candidates:
        return list(dict.fromkeys(config.candidates))
    if config.teacher != "auto":
        return [config.teacher]
    learnt = [*([GATE] if gate else []), *(["meta"] if meta else [])]
    return list(dict.fromkeys((best, *ENSEMBLES, *learnt)))


def row_recipe(config: DistillConfig, best: str) -> Recipe:
    """The recipe where nobody is asked: labels count as the configuration says, but beside a mean not at all.

    The label says which client's generator drew the row, as the gate does; a mean says what it does not know.
    """
    if config.teacher != "auto":
        return Recipe(config.teacher, config.label_share)
    return Recipe(best, config.label_share if best == GATE else 0.0)


def row_candidates(default: Recipe, teachers: Sequence[str]) -> list[Recipe]:
    """The recipes worth a try: the `default`, each of `teachers` alone, the gate with labels, and labels alone."""
    alone = [Recipe(teacher, 0.0) for teacher in teachers]
    gate = [Recipe(GATE, 0.5)] if GATE in teachers else []
    labels = [Recipe(default.teacher, 1.0)] if default.label != 1 else []
    return list(dict.fromkeys((default, *alone, *gate, *labels)))
