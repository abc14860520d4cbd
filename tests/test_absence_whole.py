"""Every method whole while clients come and go: who answered counts, who did not costs nothing and breaks nothing."""

from typing import Any

import pytest

from faulty import CPU, FaultyFederation, Lost, everywhere, nobody, three
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import MosaicError
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.runs.evaluation import figures
from mosaic_fl.storage.journal import Journal, round_name
from table_cases import patients
from vector_cases import clouds

WIDTHS = {"models_ratios": [1.0, 0.5, 0.25]}
FIT, WIDE = ("fit", "evaluate"), ("fit", "statistics", "evaluate")
ASKS = {
    **dict.fromkeys(("fedavg", "fedprox", "fedbn", "fedrs", "fedgen", "fedftg"), FIT),
    **dict.fromkeys(("heterofl", "fedrolex", "dfrd"), WIDE),
    **dict.fromkeys(("dense", "coboosting", "fedcvae", "fedcgs", "fedpft", "afl"), ("contribute",)),
    **dict.fromkeys(("mean_logits", "mean_probabilities", "class_weighted"), ("contribute",)),
    **dict.fromkeys(("federated_xgboost", "federated_bagging"), ("boost", "evaluate")),
    "mosaic": ("contribute", *WIDE),
    "feddf": ("contribute", *FIT),
    "fens": ("contribute", "fit_fusion"),
    "best_local": ("contribute", "evaluate"),
}
"""The questions that each method asks."""
MORE: dict[str, dict[str, Any]] = {
    "mosaic": {**WIDTHS, "rounds_kind": "fedrolex", "rounds_fine_tune": 1},
    "heterofl": WIDTHS,
    "fedrolex": WIDTHS,
    "dfrd": {**WIDTHS, "rounds_kind": "fedrolex"},
}


def run(name: str, digits: Dataset, lost: Lost, **more: Any) -> tuple[Outcome, FaultyFederation]:
    """The method's outcome, after what holds for every one of them."""
    card, journal = METHODS[name], Journal()
    data = patients(1040) if card.boosts else clouds(1040) if card.vectors else digits
    papers = {k.replace(".", "_", 1): v for k, v in card.defaults.items() if k.startswith(("generator", "prototypes"))}
    own = {"generator_steps": 2, **papers, **MORE.get(name, {}), **more}
    with three(data, lost, journal, run_method=name, **own) as federation:
        outcome = card.run(federation, federation.config, CPU, journal)
        assert set(federation.asked) <= set(ASKS[name])
        assert len(outcome.bytes_up) == len(outcome.bytes_down) == 3
        for (question, round), clients in federation.answered.items():
            if question in ("fit", "boost", "fit_fusion"):
                assert journal.done[round_name(round)].info["participants"] == clients
        test = data.subset(range(1000, 1040))
        assert bool(outcome.served.logits(test.samples).isfinite().all())
        shown = figures(outcome, test, None, [], CPU, 3)
    contributors = federation.answered.get(("contribute", 0), [])
    told = [k for k, accuracy in enumerate(shown["local_accuracy"]) if accuracy is not None]
    assert told == (contributors if shown["local_accuracy"] else [])
    return outcome, federation


def test_every_method_is_here() -> None:
    assert set(ASKS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_client_that_never_answers_costs_the_result_alone(digits: Dataset, name: str) -> None:
    outcome, _ = run(name, digits, everywhere(1))
    assert outcome.bytes_up[1] == 0
    assert min(outcome.bytes_up[0], outcome.bytes_up[2], outcome.bytes_down[0], outcome.bytes_down[2]) > 0
    # One global model goes to all; best_local packs its with the number of its client.
    result = len(outcome.model.to_bytes()) if outcome.model else 0
    assert outcome.bytes_down[1] == pytest.approx(result, abs=100)


@pytest.mark.parametrize("name", METHODS)
def test_clients_that_miss_one_question_each_come_back(digits: Dataset, name: str) -> None:
    """Another one each; where there are too few of them, when it is asked next."""
    questions = ASKS[name]
    lost = [(questions[k % len(questions)], k, k // len(questions)) for k in range(3)]
    outcome, federation = run(name, digits, lost)
    for question, client, round in lost:
        if federation.asked[question] > round:
            assert federation.answered[question, round] == [k for k in range(3) if k != client]
    assert sum(sent > 0 for sent in outcome.bytes_down) >= 2


@pytest.mark.parametrize("name", ["mosaic", "fedavg", "fedbn", "heterofl", "fedgen", "dfrd", "best_local"])
def test_nobody_has_to_evaluate_or_to_measure_statistics(digits: Dataset, name: str) -> None:
    lost = nobody("evaluate", "statistics")
    if name == "best_local":
        with pytest.raises(MosaicError, match="no client answered to score a model"):
            run(name, digits, lost)
        return
    outcome, federation = run(name, digits, lost)
    assert outcome.model is not None
    assert all(bool(tensor.isfinite().all()) for tensor in outcome.model.state.values())
    for round in range(2):
        (line,) = federation.journal.done[round_name(round)].metrics[-1:]
        assert not [figure for figure in line if figure.startswith("validation_accuracy")]


@pytest.mark.parametrize("kind", ["fedavg", "heterofl"])
def test_mosaic_with_rounds_of_another_kind(digits: Dataset, kind: str) -> None:
    """Client 1 misses all but the rounds, 0 the first round before, 2 the round after."""
    lost = [("contribute", 1, 0), ("statistics", 1, None), ("evaluate", 1, None), ("fit", 0, 0), ("fit", 2, 2)]
    outcome, federation = run("mosaic", digits, lost, rounds_kind=kind, distill_choose=True)
    assert [federation.answered["fit", round] for round in range(3)] == [[1, 2], [0, 1, 2], [0, 1]]
    assert outcome.distilled is not None
    assert outcome.distilled.clients.owners == (0, 2)
    assert outcome.bytes_up[1] < min(outcome.bytes_up[0], outcome.bytes_up[2])
    assert outcome.distilled.candidates == 6  # four candidates, the student, and once more how sure it should be
