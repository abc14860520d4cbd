"""Which teacher, and how much of the generators' labels: decided by measurement (docs/method.md, lessons 3 and 5).

Where data is extremely uneven the generator's label beats the teacher, else the teacher beats the label; where
generators are weak the class-balanced ensemble beats the meta model. So a few short students are trained, one a
recipe, and a judge who is not the server's own belief scores them: the clients, on their validation splits. Where
nobody judges, labels count as far as experts recognise the samples (`label_shares`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config, DistillConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.notes import note
from mosaic_fl.server.pool import of_sources
from mosaic_fl.server.recognition import Recognition
from mosaic_fl.server.transfer import FALLBACK, WEAK_POOL, has_prior, pool_samples

ENSEMBLES = ("class_balanced", "class_evened", "class_weighted")
"""Teachers that need no training: they are compared with the best one, where clients are asked."""
DRAWINGS = "procedural"
TEACHABLE = 0.8  # share of samples that experts recognise from which on a meta model learns enough from them
CERTAIN = 0.95  # share of samples that experts recognise from which on nobody is asked how to teach


@dataclass(frozen=True)
class Recipe:
    """`teacher` is a registered teacher; `label` in 0..1 is the label's share of the loss, the teacher has the rest.

    With `measured` each sample has its own share (`label_shares`), and `label` is their mean. With `prior_alone` the
    student sees no generator's sample as it is: it learns from prior samples, into which those are mixed.
    """

    teacher: str
    label: float
    measured: bool = False
    prior_alone: bool = False

    @property
    def name(self) -> str:
        """A short name, as in a table."""
        if self.prior_alone:
            return f"{self.teacher}-prior"
        return f"{self.teacher}-{'measured' if self.measured else round(100 * self.label)}"


Shares = Callable[[Tensor, Tensor], Tensor]
"""(labels (n,), the clients that drew them (n,)) -> the label's share of each, 0..1 (n,)."""


def label_shares(config: DistillConfig, measure: Recognition | None, weights: Tensor, clients: Sequence[int]) -> Shares:
    """How far each sample's label counts. The configuration says how far teacher and label count in general.

    Where both do and `config.overlap` is on, the teacher's part shrinks towards its `overlap`-fold as far as the label
    is certain by the `measure`. Two classes that no client holds together nobody has told apart on real data, and the
    teacher's word on them is worth less than the label of a sample that its client's expert recognises
    (docs/notes/labels-and-teacher.md). `weights` (K, C) are the class weights of `clients`.
    """
    share = config.label_share
    if measure is None or not (config.overlap and share):
        return lambda labels, _: torch.full((len(labels),), share)
    by_class = 1 - (1 - share) * (1 - measure.certainty * (1 - overlap(weights)))
    rows = torch.tensor(clients)

    def shares(labels: Tensor, sources: Tensor) -> Tensor:
        drawn = labels >= 0
        result = torch.full((len(labels),), share)
        result[drawn] = of_sources(by_class, rows, sources[drawn], labels[drawn])
        return result

    return shares


def with_prior(config: Config, schema: Schema, measure: Recognition | None) -> Config:
    """The configuration with as many prior samples as generators need, where it leaves them open (`distill.prior`).

    Without a measure, for rows and for samples that have no such prior, the kind of samples decides.
    """
    photos = config.distill.model_copy(update={"prior": FALLBACK})
    if config.distill.prior != "auto" or measure is None or schema.of_rows or not has_prior(photos, schema):
        return config
    count = round(measure.prior_need * config.distill.prior_pool)
    if not count:
        return config.with_values({"distill.prior": "none"})
    note(
        f"clients' models recognise {measure.mean:.0%} of what their own generators draw: the student learns from "
        f"{count:,} prior images, too; more generator.steps may help"
    )
    changes: dict[str, Any] = {"distill.prior": FALLBACK, "distill.prior_pool": count}
    if not config.distill.pool:  # the better the generators, the more samples of them, without a jump
        most = pool_samples(config.distill, schema, len(measure.rates), strong=True)
        changes["distill.pool"] = round(most - measure.prior_need * (most - WEAK_POOL))
    return config.with_values(changes)


def with_moments_prior(config: Config, schema: Schema) -> Config:
    """The configuration with prior samples where clients tell class moments and no client has a generator.

    Where it leaves them open, and the kind of samples has none of its own: drawings by rules. Decoded pictures alone
    teach a student of digits 8 points less (docs/notes/encoders.md).
    """
    if config.distill.prior != "auto" or schema.of_rows or has_prior(config.distill, schema):
        return config
    return config.with_values({"distill.prior": DRAWINGS})


def is_in_doubt(config: DistillConfig, measure: Recognition | None) -> bool:
    """Whether clients are asked how to teach: as `distill.choose` says, and for auto where labels are not `CERTAIN`."""
    if config.choose != "auto":
        return config.choose
    return bool(config.both) and measure is not None and measure.mean < CERTAIN


def needs_meta(config: DistillConfig, schema: Schema, measure: Recognition | None) -> bool:
    """Whether the meta model may teach: where the configuration names it, or leaves it open and generators serve.

    The meta model learns from generators' samples alone, so weak generators make a weak one: below a recognition of
    `TEACHABLE` the class-balanced ensemble teaches (docs/notes/other-data.md), and without a measure beside prior
    samples.
    """
    if "meta" in (config.teacher, *config.candidates):
        return True
    serves = not has_prior(config, schema) if measure is None else measure.mean >= TEACHABLE
    return config.teacher == "auto" and serves


def best_teacher(config: DistillConfig, schema: Schema, measure: Recognition | None, *, meta: bool) -> str:
    """The teacher that `distill.teacher = auto` means; `meta` says whether there is a meta model."""
    if meta and needs_meta(config.model_copy(update={"teacher": "auto", "candidates": ()}), schema, measure):
        return "meta"
    weak = measure is not None and measure.mean < TEACHABLE
    return "class_balanced" if weak or has_prior(config, schema) else "class_weighted"


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
    # In descending order the i-th of a client's shares is the smaller one of i unordered pairs: no class meets each
    # other class one by one.
    alike = 2 * shares.sort(1, descending=True).values.sum(0) @ torch.arange(classes, dtype=torch.float64)
    return min(1.0, round(float(alike) / (classes * (classes - 1)), 6))


def tried_teachers(config: DistillConfig, best: str) -> list[str]:
    """The teachers that short students are taught by: those of `config`, or for auto `best`, then all `ENSEMBLES`."""
    if config.candidates:
        return list(dict.fromkeys(config.candidates))
    return list(dict.fromkeys((best, *ENSEMBLES))) if config.teacher == "auto" else [config.teacher]


def candidates(default: Recipe, teachers: Sequence[str], *, labelled: bool) -> list[Recipe]:
    """The recipes worth a try: each of `teachers` alone where there are no labels, and else five kinds.

    They are the `default`, whose labels count as is measured; its teacher alone; the other teachers, with labels that
    count half; and labels alone. A default that is one of these itself comes once.
    """
    if not labelled:
        return [Recipe(teacher, 0.0) for teacher in teachers]
    others = [Recipe(teacher, 0.5) for teacher in teachers if teacher != default.teacher]
    alone = [Recipe(default.teacher, 0.0)] if default.label != 0 else []
    labels = [Recipe(default.teacher, 1.0)] if default.label != 1 else []
    return [default, *alone, *others, *labels]


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
