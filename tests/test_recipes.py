import pytest
import torch

from mosaic_fl.config import DistillConfig
from mosaic_fl.server.experts import class_weights
from mosaic_fl.server.recipes import Recipe, candidates, choose, given_recipe, overlap


def test_the_given_recipe_is_that_of_the_weights_where_clients_share_all_classes() -> None:
    assert given_recipe(DistillConfig(kl=0.5, label=0.5), "meta", 1.0) == Recipe("meta", 0.5)
    assert given_recipe(DistillConfig(kl=3.0, label=1.0), "meta", 1.0) == Recipe("meta", 0.25)
    assert given_recipe(DistillConfig(kl=0.0, label=0.0, jsd=1.0), "meta", 1.0) == Recipe("meta", 0.0)
    assert given_recipe(DistillConfig(teacher="mean_logits"), "meta", 1.0).teacher == "mean_logits"


def test_the_teacher_counts_as_far_as_classes_overlap() -> None:
    assert given_recipe(DistillConfig(kl=0.5, label=0.5), "meta", 0.2) == Recipe("meta", pytest.approx(0.9))
    assert given_recipe(DistillConfig(kl=3.0, label=1.0), "meta", 0.0) == Recipe("meta", 1.0)
    assert given_recipe(DistillConfig(kl=0.5, label=0.5, overlap=False), "meta", 0.2) == Recipe("meta", 0.5)


def test_who_asks_for_no_label_gets_none_and_for_labels_alone_gets_them() -> None:
    assert given_recipe(DistillConfig(kl=1.0, label=0.0), "meta", 0.2) == Recipe("meta", 0.0)
    assert given_recipe(DistillConfig(kl=0.0, label=1.0), "meta", 0.2) == Recipe("meta", 1.0)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[5, 0], [0, 7]], 0),  # nobody holds two classes
        ([[5, 50], [5, 50]], 1),  # spread alike, however rare
        ([[4, 1], [0, 3]], 0.25),  # min(1, ¼) + min(0, ¾)
        ([[1, 1, 0], [0, 0, 1]], 1 / 3),  # one pair of three together
        ([[1, 1, 0, 0], [0, 0, 0, 1]], 1 / 3),  # a class that nobody holds makes no pair
        ([[1, 1], [1, 1], [1, 1]], 1),  # and not more, for all that thirds are rounded
        ([[9, 0], [3, 0]], 1),  # one class: nothing to tell apart
    ],
)
def test_overlap_by_hand(counts: list[list[int]], expected: float) -> None:
    shared = overlap(class_weights(torch.tensor(counts)))
    assert shared == pytest.approx(expected, abs=1e-6)
    assert shared <= 1


def test_a_recipe_shares_out_the_same_total_weight() -> None:
    taught = Recipe("meta", 0.25).applied(DistillConfig(kl=0.9, label=0.1, jsd=0.3))
    assert (taught.kl, taught.label, taught.jsd) == pytest.approx((0.75, 0.25, 0.3))


def test_candidates() -> None:
    names = [r.name for r in candidates(DistillConfig(), "meta", labelled=True)]
    assert names == ["meta-0", "meta-50", "class_weighted-0", "class_weighted-50", "meta-100"]
    assert [r.name for r in candidates(DistillConfig(), "meta", labelled=False)] == ["meta-0", "class_weighted-0"]
    without_meta = [r.name for r in candidates(DistillConfig(), "class_weighted", labelled=True)]
    assert without_meta == ["class_weighted-0", "class_weighted-50", "class_weighted-100"]
    several = DistillConfig(teacher="meta", candidates=("class_balanced", "class_evened"))
    assert [r.name for r in candidates(several, "meta", labelled=False)] == ["class_balanced-0", "class_evened-0"]
    one = candidates(DistillConfig(teacher="mean_logits"), "meta", labelled=False)
    assert [r.name for r in one] == ["mean_logits-0"]


def test_the_best_score_wins_the_first_of_equals() -> None:
    recipes = [Recipe("meta", 0.0), Recipe("meta", 0.5), Recipe("meta", 1.0)]
    scores = dict(zip(recipes, (0.7, 0.9, 0.9), strict=True))
    best, report = choose(recipes, lambda r: scores[r])
    assert best == recipes[1]
    assert report == {"teacher": "meta", "label": 0.5, "validation": {"meta-0": 0.7, "meta-50": 0.9, "meta-100": 0.9}}
