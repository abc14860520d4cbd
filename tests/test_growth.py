"""How many terms a student learns for: laws by hand, and a real student that goes on."""

import pytest
import torch

import mosaic_fl
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.notes import Note
from mosaic_fl.server.distill import Distilled, distill
from mosaic_fl.server.growth import Term, goes_on
from mosaic_fl.server.standing import SAMPLES, Tally
from mosaic_fl.storage.journal import Journal


def term(loss: float, agreement: float = 0.5, score: float | None = None) -> Term:
    """A term with these figures."""
    return Term({"holdout_loss": loss, "holdout_agreement": agreement}, score)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([term(1.0)], True),  # it does not follow its teacher yet
        ([term(1.0, agreement=0.9)], False),  # it does
        ([Term({})], False),  # nobody can tell without a hold-out
        ([Term({}, 0.5)], True),  # but a judge
        ([Term({}, 0.5), Term({}, 0.4)], False),
        ([term(1.0), term(0.97)], True),  # 3 % less
        ([term(1.0), term(0.985)], False),  # 1.5 % less
        ([term(1.0), term(0.8), term(0.9)], False),  # worse than the one before
        ([term(1.0, score=0.5), term(1.1, score=0.6)], True),  # the judge counts for more than the loss
        ([term(1.0, score=0.5), term(0.5, score=0.4)], False),
        ([term(1.0, score=0.5), term(0.9, score=0.5)], True),  # of equal scores the lower loss
        ([term(1.0), term(0.5, agreement=0.95)], False),
    ],
)
def test_a_student_goes_on_while_it_gains_on_its_teacher(terms: list[Term], expected: bool) -> None:
    assert goes_on(terms) is expected


FEW = {
    "distill.steps": 3,
    "distill.pool": 60,
    "distill.prior": "none",
    "distill.teacher": "class_weighted",
    "distill.terms": 3,
    "models.student": "mlp:4",
}


@pytest.fixture(scope="module")
def contributions(digits: Dataset) -> list[Contribution]:
    """Two real contributions of a short training."""
    settings = {"train.max_steps": 5, "train.min_steps": 1, "generator.steps": 5, "generator.width": 4}
    halves = [digits.subset(range(100)), digits.subset(range(100, 200))]
    return [mosaic_fl.contribute(half, model="mlp:8:1", client=k, settings=settings) for k, half in enumerate(halves)]


def learn(
    contributions: list[Contribution], judge: object = None, journal: Journal | None = None, **more: object
) -> Distilled:
    """A distillation of very few steps, in terms."""
    config = Config().with_values(FEW | more)
    return distill(contributions, config, torch.device("cpu"), journal or Journal(), None, judge)  # type: ignore[arg-type]


def test_terms_go_on_from_the_weights_before_and_the_best_one_serves(contributions: list[Contribution]) -> None:
    journal = Journal()
    distilled = learn(contributions, journal=journal)
    names = [name for name in journal.done if name.startswith("student")]
    assert names == ["student", "student-2", "student-3"][: distilled.choice["terms"]]
    losses = {name: journal.done[name].info["holdout"]["holdout_loss"] for name in names}
    assert distilled.holdout["holdout_loss"] == min(losses.values())
    best = journal.done[min(losses, key=lambda name: losses[name])].tensors
    assert all(torch.equal(tensor, distilled.model.state[name]) for name, tensor in best.items())
    assert len(names) > 1
    heads = [journal.done[name].tensors["head.weight"] for name in names]
    assert not torch.equal(heads[0], heads[1])


def test_the_same_seed_gives_the_same_terms(contributions: list[Contribution]) -> None:
    first = learn(contributions).model.state
    again = learn(contributions).model.state
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_one_term_is_the_student_of_old(contributions: list[Contribution]) -> None:
    journal = Journal()
    assert learn(contributions, journal=journal, **{"distill.terms": 1}).choice["terms"] == 1
    assert "student-2" not in journal.done


def test_a_judge_decides_which_term_serves(contributions: list[Contribution]) -> None:
    """It likes the first term best, so that a second one is tried and a third one is not."""
    scores = iter([0.0] * 5 + [0.9, 0.2])  # five short students, then the terms

    def judge(_: GlobalModel) -> float:
        return next(scores)

    journal = Journal()
    distilled = learn(contributions, judge, journal, **{"distill.choose": True, "distill.teacher": "auto"})
    assert distilled.choice["terms"] == 2
    assert distilled.candidates == 7
    first = journal.done["student"].tensors
    assert all(torch.equal(tensor, distilled.model.state[name]) for name, tensor in first.items())


PRIOR = {"distill.prior": "procedural", "distill.prior_pool": 40, "distill.terms": 2, "distill.choose": True}


def count_as(**right: int) -> Tally:
    """A tally of 100 validation samples, of which the teachers get so many right."""
    return lambda _: {**right, SAMPLES: 100}


def test_where_generators_are_weak_another_student_learns_from_prior_samples_alone(
    contributions: list[Contribution],
) -> None:
    """Three short students, then two terms at 50 %; then two terms of another one at 60 %."""
    scores = iter([0.0] * 3 + [0.5, 0.4] + [0.6, 0.6])
    journal = Journal()
    config = Config().with_values(FEW | PRIOR)
    right = count_as(class_weighted=90)
    with pytest.warns(Note, match="30.0 points behind the ensemble class_weighted"):
        distilled = distill(contributions, config, torch.device("cpu"), journal, None, lambda _: next(scores), right)
    assert distilled.choice["prior_alone"]
    assert distilled.candidates == 7
    best = journal.done["student-prior"].tensors
    # It sees no generator's sample unmixed: its first term is the one that `distill.plain = false` teaches, but for the
    # rounding of experts that are asked of other samples, too.
    mixed_alone = learn(contributions, **PRIOR | {"distill.plain": False, "distill.terms": 1, "distill.choose": False})
    assert all(torch.allclose(tensor, mixed_alone.model.state[name], atol=1e-5) for name, tensor in best.items())
    first = journal.done["student"].tensors
    assert any(not torch.allclose(tensor, first[name], atol=1e-3) for name, tensor in best.items())


@pytest.mark.filterwarnings("ignore::mosaic_fl.notes.Note")
@pytest.mark.parametrize("tally", [count_as(class_weighted=90), count_as(class_weighted=10), lambda _: {}])
def test_the_other_student_does_not_depend_on_what_an_engine_can_count(
    contributions: list[Contribution], tally: Tally
) -> None:
    scores = iter([0.0] * 3 + [0.5, 0.4] + [0.6, 0.6])
    config = Config().with_values(FEW | PRIOR)
    assert distill(contributions, config, torch.device("cpu"), Journal(), None, lambda _: next(scores), tally).choice[
        "prior_alone"
    ]


def test_no_other_student_where_none_is_wanted(contributions: list[Contribution]) -> None:
    scores = iter([0.0] * 3 + [0.5, 0.4])
    config = Config().with_values(FEW | PRIOR | {"distill.retry": False})
    journal = Journal()
    distill(contributions, config, torch.device("cpu"), journal, None, lambda _: next(scores))
    assert "student-prior" not in journal.done
