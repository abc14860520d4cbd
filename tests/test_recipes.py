import pytest

from mosaic_fl.config import DistillConfig
from mosaic_fl.server.recipes import Recipe, candidates, choose, given_recipe


def test_the_given_recipe_is_that_of_the_weights() -> None:
    assert given_recipe(DistillConfig(kl=0.5, label=0.5), "meta") == Recipe("meta", 0.5)
    assert given_recipe(DistillConfig(kl=3.0, label=1.0), "meta") == Recipe("meta", 0.25)
    assert given_recipe(DistillConfig(kl=0.0, label=0.0, jsd=1.0), "meta") == Recipe("meta", 0.0)
    assert given_recipe(DistillConfig(teacher="mean_logits"), "meta").teacher == "mean_logits"


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
