"""Who gains and who loses by taking part: counted, and said in words."""

from typing import Any

import pytest
import torch

from mosaic_fl.report.benefit import benefit_lines, own_figure
from mosaic_fl.runs.benefit import benefit, own_data, taking_part


def confusion(right: int, wrong: int) -> torch.Tensor:
    return torch.tensor([[right, wrong], [0, 0]])


def test_own_data_is_placed_by_client() -> None:
    alone = {0: {"samples": 40, "accuracy": 0.95}, 2: {"samples": 0}, 3: {"samples": 8, "accuracy": 0.5}}
    assert own_data(alone, {0: confusion(33, 7), 1: confusion(1, 3), 2: confusion(0, 0)}, 4) == [
        {"samples": 40, "alone": 0.95, "together": 0.825},
        {"samples": 4, "alone": None, "together": 0.25},  # it did not contribute
        {"samples": 0, "alone": None, "together": None},  # it held nothing back
        {"samples": 8, "alone": 0.5, "together": None},  # it did not answer in the end
    ]
    assert own_data({}, {0: confusion(1, 0)}, 1) == []  # averaging: nobody has a model of its own
    assert own_data(alone, {}, 4) == []  # an ensemble: there is no one model to measure


# The content of result.json, what is counted as (gain, lose, same, unknown), and what is said.
SITE: dict[str, Any] = {"samples": 40, "alone": 0.95, "together": 0.825}
VIEWS: list[tuple[dict[str, Any], dict[str, tuple[int, int, int, int]], list[str]]] = [
    (
        {"accuracy": 0.9, "local_accuracy": [0.281, 0.419, 0.4]},
        {"test": (3, 0, 0, 0)},
        ["Taking part, on all sites' test data: 3 of 3 sites gain (by 48.1 to 61.9 points)"],
    ),
    (
        {"accuracy": 0.9, "local_accuracy": [0.8, None]},
        {"test": (1, 0, 0, 1)},
        [
            "Taking part, on all sites' test data: 1 of 2 sites gains (by 10.0 points), "
            "1 cannot tell (no model of its own)"
        ],
    ),
    (
        {"accuracy": 0.826, "local_accuracy": [0.97, 0.92, 0.95, 0.5]},
        {"test": (1, 3, 0, 0)},
        [
            "Taking part, on all sites' test data: 1 of 4 sites gains (by 32.6 points), "
            "3 lose (clients 0, 1, 2, by 9.4 to 14.4 points)"
        ],
    ),
    (
        {"accuracy": None, "validation_accuracy": 0.8, "own_data": [SITE, {**SITE, "samples": 5, "alone": 0.825}]},
        {"own": (0, 1, 1, 0)},
        [
            "Taking part, on their own validation data (5 to 40 samples each): 1 of 2 sites loses "
            "(client 0, by 12.5 points), 1 stays (the same figure)"
        ],
    ),
    (
        {"accuracy": 0.9, "own_data": [SITE, {"samples": 0, "alone": None, "together": None}]},
        {"own": (0, 1, 0, 1)},
        [
            "Taking part, on their own validation data (40 samples each): 1 of 2 sites loses (client 0, by 12.5 "
            "points), 1 cannot tell (no validation sample, or no answer)"
        ],
    ),
    (
        {"accuracy": 0.9, "local_accuracy": [], "own_data": [], "title": "FedAvg"},
        {},
        ["Who gains or loses by taking part is not known: FedAvg has no models of sites alone to compare"],
    ),
    ({"accuracy": None}, {}, []),
    (
        {"accuracy": 0.5, "local_accuracy": [0.75, 0.25], "contributors": [3, 7]},
        {"test": (1, 1, 0, 0)},
        [
            "Taking part, on all sites' test data: 1 of 2 sites gains (by 25.0 points), "
            "1 loses (client 3, by 25.0 points)"
        ],
    ),
    (
        {"accuracy": 0.5, "local_accuracy": [0.6] * 9},
        {"test": (0, 9, 0, 0)},
        ["Taking part, on all sites' test data: 9 of 9 sites lose (by 10.0 points)"],
    ),
]


@pytest.mark.parametrize(("result", "counts", "lines"), VIEWS)
def test_gains_and_losses(
    result: dict[str, Any], counts: dict[str, tuple[int, int, int, int]], lines: list[str]
) -> None:
    views = taking_part(result)
    found = {name: tuple(view[key] for key in ("gain", "lose", "same", "unknown")) for name, view in views.items()}
    assert found == counts
    assert benefit_lines({**result, "taking_part": views}) == lines


def test_a_figure_in_single_precision_is_no_loss() -> None:
    own = [{"samples": 20, "alone": float(torch.tensor(0.95)), "together": 0.95}]
    assert taking_part({"own_data": own})["own"]["same"] == 1


def test_a_sites_own_figure_says_on_what_data() -> None:
    line = own_figure("cnn:16", {"samples": 36, "accuracy": 0.879, "loss": 0.4})
    assert "87.9 % of its own data (36 samples held back)" in line
    assert "other sites'" in line
    assert "(1 sample held back)" in own_figure("cnn:16", {"samples": 1, "accuracy": 1.0})
    assert "Nothing was held back" in own_figure("cnn:16", {"samples": 0})


def test_a_site_without_a_model_has_nothing_to_compare_with() -> None:
    """Its answers are its classes' shares: whoever is better than these has gained nothing by taking part."""
    alone = {0: {"samples": 10, "accuracy": 0.5}, 1: {"samples": 10, "accuracy": 0.1}}
    right = {client: torch.diag(torch.tensor([5, 5])) for client in (0, 1)}
    found = benefit({"local_accuracy": [0.5, None], "accuracy": 1.0}, alone, right, ["cnn:16", "none"])
    assert [site["alone"] for site in found["own_data"]] == [0.5, None]
    assert [view["unknown"] for view in found["taking_part"].values()] == [1, 1]
    assert "No model leaves the site" in own_figure("none", alone[1])
