"""Figures of probabilities beside the accuracy, by hand, and the split of rows by a column."""

import math

import numpy as np
import pytest
import torch

from mosaic_fl.config import PartitionConfig
from mosaic_fl.data.column_split import column_indices
from mosaic_fl.errors import UsageError
from mosaic_fl.report.quality import quality_lines
from mosaic_fl.runs.quality import quality

# Probabilities of class 1 and labels: of the four pairs of a positive and a negative, three are in order.
SCORES = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]]).log()
LABELS = torch.tensor([0, 0, 1, 1])


def test_figures_by_hand() -> None:
    figures = quality(SCORES, LABELS)
    assert figures["auroc"] == pytest.approx(3 / 4)
    assert figures["balanced_accuracy"] == pytest.approx(1 / 2)
    assert figures["log_loss"] == pytest.approx(-math.log(0.9 * 0.4 * 0.3 * 0.8) / 4)
    # Confidences 0.9 (right), 0.6 (wrong), 0.7 (wrong), 0.8 (right), each in a bin of its own.
    assert figures["ece"] == pytest.approx((0.1 + 0.6 + 0.7 + 0.2) / 4, abs=1e-6)


def test_imbalanced_classes_count_alike() -> None:
    """Nine of ten samples are of class 0, and all are called so."""
    scores = torch.tensor([[0.8, 0.2]]).log().repeat(10, 1)
    labels = torch.tensor([0] * 9 + [1])
    figures = quality(scores, labels)
    assert figures["balanced_accuracy"] == pytest.approx(1 / 2)
    assert figures["auroc"] == pytest.approx(1 / 2)
    assert figures["ece"] == pytest.approx(0.1, abs=1e-6)  # confidence 0.8, accuracy 0.9


def test_of_more_classes_the_area_is_a_mean() -> None:
    scores = torch.eye(3).repeat(2, 1) * 9
    assert quality(scores, torch.tensor([0, 1, 2, 0, 1, 2]))["auroc"] == 1
    # Class 2 never occurs. Of classes 0 and 1, each against the rest, half of the pairs are in order.
    halves = torch.tensor([[9.0, 0, 0], [0, 9, 0], [9, 0, 0], [0, 9, 0]])
    assert quality(halves, torch.tensor([0, 0, 1, 1]))["auroc"] == pytest.approx(1 / 2)


def test_figures_that_have_no_meaning_are_none() -> None:
    assert quality(SCORES, torch.tensor([1, 1, 1, 1]))["auroc"] is None
    assert quality(SCORES[:0], LABELS[:0]) == dict.fromkeys(("auroc", "balanced_accuracy", "log_loss", "ece"))
    sure = torch.tensor([[0.0, -math.inf]])
    assert quality(sure, torch.tensor([1]))["log_loss"] == pytest.approx(-math.log(1e-15))


def test_the_lines_name_each_predictor() -> None:
    figures = {"auroc": 0.75, "balanced_accuracy": 0.5, "log_loss": 0.6, "ece": 0.4}
    worse = {**figures, "auroc": 0.6}
    nothing = {**figures, "auroc": None}
    result = {"quality": {"served": figures, "local": [worse, None, figures, nothing]}, "contributors": [3, 5, 8, 9]}
    words = "AUROC 75.0 % · balanced accuracy 50.0 % · log-loss 0.600 · calibration error 40.0 %"
    assert quality_lines(result) == [f"The model in service: {words}", f"The best local model (client 8): {words}"]
    assert quality_lines({}) == []


def parts(column: list[object], clients: int) -> list[list[int]]:
    values = np.array(column, np.float64 if isinstance(column[0], float) else object)
    return [part.tolist() for part in column_indices(values, PartitionConfig(clients=clients))]


def test_a_column_divides_the_clients() -> None:
    """Sites by their name, numbers by their size, and as many numbers as clients as sites."""
    assert parts(["b", "a", "b", "c"], 3) == [[1], [0, 2], [3]]
    assert parts(["10", "9", "10"], 2) == [[1], [0, 2]]
    assert parts([50.0, 20.0, 40.0, float("nan"), 30.0, 10.0], 3) == [[1, 5], [2, 4], [0, 3]]
    assert parts([2.0, 1.0, 2.0], 2) == [[1], [0, 2]]


@pytest.mark.parametrize(
    ("column", "clients", "message"),
    [
        (["a", "b"], 3, r"has 2 values \(a, b\), and there are 3 clients: say --clients 2"),
        (["a", ""], 1, "1 rows have no value in the column of sites"),
        ([1.0, 2.0], 3, "has 2 values"),
    ],
)
def test_a_column_that_cannot_divide(column: list[object], clients: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parts(column, clients)
