"""What the teacher listens to, and what it is without each client: laws of ensembles, and figures by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

import mosaic_fl
from moments_cases import first, split_by_class, told
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.methods.outcome import Ensemble, Outcome
from mosaic_fl.runs.auroc import auroc_interval
from mosaic_fl.runs.detail import split
from mosaic_fl.runs.teaching import teaching
from mosaic_fl.server.class_moments import moments_teacher
from mosaic_fl.server.experts import MixtureOfExperts, class_priors, class_weights, mean_probabilities
from mosaic_fl.server.feature_space import feature_space, with_moments
from mosaic_fl.server.gate import Gate
from mosaic_fl.server.leave_one_out import LeaveOneOut
from mosaic_fl.server.teachers import Teachers
from vector_cases import clouds

CPU = torch.device("cpu")


class Constant:
    """An expert that answers by the first pixel of a picture: a row of logits (P, C) each."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = torch.tensor(rows)

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        return self.rows[samples.only[:, 0, 0, 0].long()]


class Fixed:
    """A judge that gives each sample the same shares."""

    def __init__(self, shares: list[float]) -> None:
        self.shares = torch.tensor(shares).log()

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        return self.shares.expand(len(samples), -1)


@pytest.fixture
def test_set(schema: Schema) -> Dataset:
    """Three pictures of class 0, 1 and 2, whose first pixel is their class."""
    images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(3)
    return image_dataset(images, torch.arange(3), schema)


def mixture(counts: list[list[int]], experts: list[Constant]) -> MixtureOfExperts:
    table = torch.tensor(counts)
    return MixtureOfExperts(tuple(experts), class_weights(table), class_priors(table), tuple(range(len(experts))))


SURE = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]
FIRST = [[3.0, 0.0, 0.0]] * 3
OTHERS = [[0.0, 1.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]]
ALIKE = [[1.0, 0.0, 0.0]] * 3
COUNTS = [[5, 5, 1], [8, 0, 0], [0, 6, 6]]


@pytest.mark.parametrize("name", ["class_balanced", "class_weighted", "mean_logits", "mean_probabilities"])
def test_without_a_client_is_the_teacher_of_the_others(name: str, test_set: Dataset) -> None:
    experts = [Constant(SURE), Constant(FIRST), Constant(OTHERS)]
    whole = mixture(COUNTS, experts)
    leave = LeaveOneOut(Teachers(whole, None), name, ())
    outputs = whole.outputs(test_set.samples)
    every, *without = leave.answers(test_set.samples, outputs, CPU)
    assert every is not None
    torch.testing.assert_close(every, Teachers(whole, None).log_probabilities(name, outputs))
    for place, answer in enumerate(without):
        rest = [k for k in range(3) if k != place]
        fewer = mixture([COUNTS[k] for k in rest], [experts[k] for k in rest])
        assert answer is not None
        expected = Teachers(fewer, None).log_probabilities(name, outputs[:, rest])
        torch.testing.assert_close(answer.exp(), expected.exp(), atol=1e-6, rtol=1e-4)


def test_the_gate_divides_a_silent_clients_share(test_set: Dataset) -> None:
    """Client 0 is right of all. The gate gives it half of each sample, and the others a quarter."""
    experts = [Constant(SURE), Constant(FIRST), Constant(OTHERS)]
    whole = mixture(COUNTS, experts)
    gate = Gate(Fixed([0.5, 0.25, 0.25]), (0, 1, 2), 3)
    leave = LeaveOneOut(Teachers(whole, None, gate=gate), "gate", ())
    outputs = whole.outputs(test_set.samples)
    _, without, *_ = leave.answers(test_set.samples, outputs, CPU)
    assert without is not None
    expected = outputs[:, 1:].softmax(2).mean(1)
    torch.testing.assert_close(without.exp(), expected, atol=1e-6, rtol=1e-4)
    alone = LeaveOneOut(Teachers(whole, None, gate=replace(gate, judge=None, rows=(0,))), "gate", ())
    _, nobody, *rest = alone.answers(test_set.samples, outputs, CPU)
    assert nobody is None
    assert all(answer is not None for answer in rest)


def test_moments_without_a_client_are_those_of_the_others() -> None:
    """By vectors, and by pictures beside models; where nobody else told any, nobody can teach."""
    data = clouds(90)
    settings = {"generator.family": "moments", "train.max_steps": 5, "train.min_steps": 5}
    parts = [data.subset(torch.arange(k, 90, 3 - k % 2).tolist()) for k in range(3)]
    sent = [mosaic_fl.contribute(p, model="mlp:4", client=k, settings=settings) for k, p in enumerate(parts)]
    teachers = with_moments(Teachers(MixtureOfExperts.of(sent), None), sent, None)
    outputs = teachers.mixture.outputs(data.samples)
    _, without, *_ = LeaveOneOut(teachers, "moments", sent).answers(data.samples, outputs, CPU)
    others = moments_teacher(sent[1:]).log_probabilities(data.samples).log_softmax(1)
    assert without is not None
    torch.testing.assert_close(without, others)


def test_moments_in_an_encoders_space(digits: Dataset) -> None:
    """Each of two clients has classes of its own, so without one the closed form knows the other's alone."""
    sent = [told(part, client) for client, part in enumerate(split_by_class(first(digits, 200), 2))]
    space = feature_space(sent)
    teachers = with_moments(Teachers(MixtureOfExperts.of(sent), None), sent, space)
    few = digits.subset(list(range(20)))
    outputs = teachers.mixture.outputs(few.samples)
    whole, *without = LeaveOneOut(teachers, "moments", sent).answers(few.samples, outputs, CPU)
    assert whole is not None
    assert all(answer is not None and bool(answer.isfinite().all()) for answer in without)
    assert without[0] is not None
    odd = few.labels % 2 == 1
    assert float((without[0].argmax(1) == few.labels)[odd].double().mean()) > 0.7
    assert float((without[0].argmax(1) == few.labels)[~odd].double().mean()) == 0.0
    judge = Fixed([0.5, 0.25, 0.25])  # the last share is that of the moments
    gated = replace(teachers, moments_gate=Gate(judge, (0, 1, 2), 3))
    _, without_first, _ = LeaveOneOut(gated, "moments_gate", sent).answers(few.samples, outputs, CPU)
    assert without_first is not None
    halves = (outputs[:, 1].softmax(1) + without[0].softmax(1)) / 2
    torch.testing.assert_close(without_first.exp(), halves, atol=1e-5, rtol=1e-3)
    silent = [replace(sent[0], moments=None), sent[1]]
    alone = with_moments(Teachers(MixtureOfExperts.of(silent), None), silent, feature_space(silent))
    _, first_gone, second_gone = LeaveOneOut(alone, "product", silent).answers(few.samples, outputs, CPU)
    assert first_gone is not None
    assert second_gone is None


def outcome(model: MixtureOfExperts) -> Outcome:
    return Outcome(None, [], [], ensemble=Ensemble(model, mean_probabilities))


def test_figures_by_hand(test_set: Dataset) -> None:
    """Clients 1 and 2 say class 0 of everything, with 0.576 each; client 0 is right with 0.965.

    Of a picture of class 1 all three say 1.39 for class 1 and 1.17 for class 0; without client 0 they say class 0.
    """
    experts = [Constant(SURE), Constant(ALIKE), Constant(ALIKE)]
    told = teaching(outcome(mixture(COUNTS, experts)), test_set, CPU)
    without = told["without"]
    assert without["samples"] == 3
    assert without["accuracy"] == 1.0
    assert [row["accuracy"] for row in without["clients"]] == pytest.approx([1 / 3, 1.0, 1.0])
    assert [(row["mends"], row["spoils"]) for row in without["clients"]] == [(2, 0), (0, 0), (0, 0)]
    heard = told["listening"]
    assert heard["how"] == "measured"
    assert torch.tensor(heard["by_class"]).sum(0).tolist() == pytest.approx([1.0, 1.0, 1.0], abs=1e-3)


def test_reasons(test_set: Dataset) -> None:
    one = mixture([[1, 1, 1]], [Constant(SURE)])
    assert teaching(outcome(one), test_set, CPU)["without"]["skipped"] == "there is one client alone"
    many = mixture(COUNTS, [Constant(SURE)] * 3)
    assert teaching(outcome(many), None, CPU)["without"]["skipped"] == "there is no labelled test set"
    assert teaching(Outcome(None, [], []), test_set, CPU) == {}
    crowd = mixture([[1, 1, 1]] * 3000, [Constant(SURE)] * 3000)
    long = image_dataset(
        torch.zeros(500, 1, 8, 8, dtype=torch.uint8), torch.zeros(500, dtype=torch.int64), test_set.schema
    )
    assert "would take too long" in teaching(outcome(crowd), long, CPU)["without"]["skipped"]


def test_split_by_hand() -> None:
    told = split({1: torch.tensor([2, 0]), 0: torch.tensor([1, 3])})
    assert told == {"split": {"clients": [0, 1], "counts": [[1, 3], [2, 0]], "noisy": False}}
    assert split({}) == {}
    assert split({0: torch.zeros(101)}) == {}


def test_auroc_is_that_of_scikit_learn_and_its_interval_holds_it() -> None:
    rng = np.random.default_rng(1)
    labels = torch.tensor(rng.integers(0, 2, 80))
    scores = torch.tensor(np.stack([np.zeros(80), np.round(rng.normal(size=80) + labels.numpy(), 1)], 1))
    told = auroc_interval(scores, labels)
    assert told is not None
    assert told[0] == pytest.approx(roc_auc_score(labels, scores[:, 1]))
    assert told[1] < told[0] < told[2]
    assert 0.1 < told[2] - told[1] < 0.3  # Hanley and McNeil's standard error is some 0.05
    assert told == auroc_interval(scores, labels)
    assert auroc_interval(scores, torch.zeros(80, dtype=torch.int64)) is None
    perfect = auroc_interval(torch.eye(3).repeat(4, 1), torch.arange(3).repeat(4))
    assert perfect == [1.0, 1.0, 1.0]
