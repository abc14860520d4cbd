"""Where students are taught: short ones on trial, and the real one term after term."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import from_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import build, default_student
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.boosting import boost, is_boosted
from mosaic_fl.server.class_moments import closed_form
from mosaic_fl.server.feature_space import FeatureSpace
from mosaic_fl.server.growth import Term, goes_on
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.recipes import Recipe, Shares
from mosaic_fl.server.student import Lesson, train_student
from mosaic_fl.server.students import global_name, is_network
from mosaic_fl.server.teachers import Teachers
from mosaic_fl.server.transfer import UNLABELLED, TransferSet, drawing, transfer_set
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor

# Names of stages: of the student, and of another one that learns from prior samples alone.
STUDENT = "student"
SECOND = "student-prior"
FIELD = "sample/"  # begins the names of the pool's fields in its stage
Product = tuple[dict[str, Tensor], dict[str, Any]]
Judge = Callable[[GlobalModel], float | None]
"""Scores a candidate model in 0..1; higher is better. None where there is nobody to judge it."""


@dataclass(frozen=True)
class Course:
    """The weights of the student after its best term, all its terms in order, and how many the judge was shown."""

    state: State
    best: Term
    terms: list[Term]
    trials: int


@dataclass(frozen=True)
class Classroom:
    """Students learn from `teachers` on the tensors of a `pool`, and in later terms on new samples of `sampler`.

    `start` has the weights, by architecture, with which a student begins; without an entry it begins at random.
    `measured` gives the samples of a transfer set their labels' shares.
    """

    config: Config
    contributions: Sequence[Contribution]
    teachers: Teachers
    pool: Mapping[str, Tensor]
    measured: Shares
    sampler: Callable[[], Sampler]
    device: torch.device
    start: Mapping[str, Mapping[str, Tensor]]
    space: FeatureSpace | None = None

    @property
    def schema(self) -> Schema:
        """The schema of all samples."""
        return self.contributions[0].schema

    @property
    def architecture(self) -> str:
        """The students' architecture."""
        return self.config.models.student or default_student(self.schema)

    def model(self, state: State) -> GlobalModel:
        """A student's weights as a global model."""
        return GlobalModel(global_name(self.architecture), self.schema, state)

    def default_recipe(self, best: str) -> Recipe:
        """The recipe that the configuration says, with the teacher `best` where it leaves that open."""
        settings = self.config.distill
        labels = self.pool["labels"]
        shares = self.measured(labels, self.pool["sources"])[labels >= 0]
        mean = round(float(shares.mean()), 6) if len(shares) else settings.label_share
        return Recipe(best if settings.teacher == "auto" else settings.teacher, mean, measured=True)

    def teach(self, recipe: Recipe, steps: int, monitor: Monitor) -> Product:
        """The state of a new student after so many steps by the recipe, and its figures on the hold-out."""
        if is_boosted(self.architecture):
            return self._boost(recipe, monitor)
        if not is_network(self.architecture):
            return closed_form(self.architecture, self.contributions), {"holdout": {}}
        student = self._student(self.start.get(self.architecture))
        settings = self.config.distill.model_copy(update={"steps": steps})
        stream = Stream(self.config.run.seed, "student")
        fresh = self._fresh(recipe) if settings.fresh else None
        figures = train_student(student, self._lesson(recipe), settings, stream, self.device, monitor, fresh)
        return copy_state(student), {"holdout": figures}

    def _boost(self, recipe: Recipe, monitor: Monitor) -> Product:
        """The state of boosted trees, as many on trial as later: it takes seconds, and fewer would learn otherwise."""
        stream = Stream(self.config.run.seed, "student")
        lesson = self._lesson(recipe)
        state, figures = boost(self.architecture, self.schema, lesson, self.config.distill, stream, monitor)
        return state, {"holdout": figures}

    def audition(self, recipe: Recipe, judge: Judge, journal: Journal) -> float | None:
        """What the judge says of a short student that was taught by the recipe."""
        settings = self.config.distill
        steps = max(1, round(settings.candidate_share * settings.steps))

        def attempt(monitor: Monitor) -> Product:
            state, info = self.teach(recipe, steps, monitor)
            return {}, info | {"score": judge(self.model(state))}

        score: float | None = journal.stage(f"candidate-{recipe.name}", attempt).info["score"]
        return score

    def course(self, recipe: Recipe, judge: Judge | None, journal: Journal, name: str = STUDENT) -> Course:
        """A student's terms by the recipe: see `growth`. A later term goes on from the best one, on new samples.

        With a `judge` each term has a score; without, the hold-out's loss decides. The hold-out is that of the pool.
        `name` begins the names of its stages.
        Boosted trees have one term, which ends where more of them no longer gain.
        """
        settings = self.config.distill
        judged = settings.terms > 1 and not settings.fresh
        most = settings.terms if judged and is_network(self.architecture) else 1

        def judge_term(learn: Callable[[Monitor], Product], monitor: Monitor) -> Product:
            state, info = learn(monitor)
            return state, info | {"score": judge(self.model(state)) if judge and judged else None}

        stage = journal.stage(name, partial(judge_term, partial(self.teach, recipe, settings.steps)))
        terms = [Term(stage.info["holdout"], stage.info.get("score"))]
        best = terms[0]
        state = stage.tensors
        while len(terms) < most and goes_on(terms):
            number = len(terms) + 1
            again = partial(self._term, recipe, number, state)
            latest = journal.stage(f"{name}-{number}", partial(judge_term, again))
            terms.append(Term(latest.info["holdout"], latest.info["score"]))
            if terms[-1].beats(best):
                best = terms[-1]
                state = latest.tensors
        return Course(state, best, terms, len(terms) if judge and judged else 0)

    def _term(self, recipe: Recipe, number: int, state: State, monitor: Monitor) -> Product:
        """The student with the weights `state` after another term, the `number`-th, on samples of its own."""
        seed = self.config.run.seed
        mixed_alone = {"plain": False} if recipe.prior_alone else {}
        settings = self.config.distill.model_copy(update=mixed_alone)
        drawn = Stream(seed, "term", round=number).integer()
        transfer = transfer_set(self.contributions, settings, drawn, self.device, self.sampler, self.space)
        answers = self.teachers.ask({recipe.teacher}, transfer.samples, self.device)
        lesson = self._taught(recipe, transfer, answers[recipe.teacher])
        _, holdout = self._lesson(recipe).divided(settings.holdout, Stream(seed, "student").torch())
        student = self._student(state)
        stream = Stream(seed, "student", round=number)
        figures = train_student(student, lesson, settings, stream, self.device, monitor, None, holdout)
        return copy_state(student), {"holdout": figures}

    def _student(self, state: Mapping[str, Tensor] | None) -> Classifier:
        with Stream(self.config.run.seed, "student-init").ambient():
            student = build(self.architecture, self.schema)
        if state is not None:
            student.load_state_dict(dict(state))
        return student

    def _lesson(self, recipe: Recipe) -> Lesson:
        """The whole pool by the recipe."""
        samples = from_tensors(self.schema.fields, self.pool, FIELD)
        transfer = TransferSet(samples, self.pool["labels"], self.pool["sources"])
        return self._taught(recipe, transfer, self.pool[f"teacher/{recipe.teacher}"])

    def _taught(self, recipe: Recipe, transfer: TransferSet, answers: Tensor) -> Lesson:
        """What the recipe takes of a transfer set, with the teacher's `answers` (n, C) on all of it."""
        shares = self._shares(recipe, transfer.labels, transfer.sources)
        lesson = Lesson(transfer.samples, transfer.labels, answers, shares)
        return lesson.at((transfer.labels == UNLABELLED).nonzero().flatten()) if recipe.prior_alone else lesson

    def _shares(self, recipe: Recipe, labels: Tensor, sources: Tensor) -> Tensor:
        return self.measured(labels, sources) if recipe.measured else torch.full((len(labels),), recipe.label)

    def _fresh(self, recipe: Recipe) -> Callable[[int], Lesson]:
        """Batches of new samples, as the paper draws them: one a step, of which the teacher is asked once."""
        settings = self.config.distill
        draw = drawing(self.sampler(), settings, self.schema)

        def at(step: int) -> Lesson:
            batch = draw(settings.batch_size, Stream(self.config.run.seed, "fresh", round=step))
            teacher = self.teachers.ask({recipe.teacher}, batch.samples, self.device)[recipe.teacher]
            return Lesson(batch.samples, batch.labels, teacher, self._shares(recipe, batch.labels, batch.sources))

        return at
