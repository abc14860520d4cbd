import warnings
from typing import Literal

import pytest
import torch

from mosaic_fl.config import Config, DistillConfig
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.notes import Note
from mosaic_fl.server.experts import class_weights
from mosaic_fl.server.recipes import (
    Recipe,
    best_teacher,
    candidates,
    choose,
    is_in_doubt,
    label_shares,
    needs_meta,
    overlap,
    tried_teachers,
    with_prior,
)
from mosaic_fl.server.recognition import Recognition

GREY = image_schema((1, 8, 8), ("a", "b"))


LABELS = torch.tensor([0, 1, 0, -1])
SOURCES = torch.tensor([3, 3, 7, -1])  # of two clients, 3 and 7, and a prior sample
APART = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # class weights of clients that share no class: the overlap is 0
TOGETHER = torch.tensor([[0.5, 0.5], [0.5, 0.5]])  # and of clients that share all: it is 1


def shares(config: DistillConfig, rates: list[list[float]] | None, weights: torch.Tensor) -> list[float]:
    """The labels' shares of the samples above, where experts recognise their clients' samples at these `rates`."""
    measure = None if rates is None else Recognition(torch.tensor(rates), 0.9)
    return label_shares(config, measure, weights, [3, 7])(LABELS, SOURCES).tolist()


def test_labels_count_as_the_weights_say_where_nothing_is_certain() -> None:
    weak = [[0.9, 0.4], [0.0, 0.9]]  # recognition up to 0.9 makes no label certain
    assert shares(DistillConfig(kl=0.5, label=0.5), weak, APART) == [0.5] * 4
    assert shares(DistillConfig(kl=3.0, label=1.0), None, APART) == [0.25] * 4
    assert shares(DistillConfig(kl=0.0, label=0.0, jsd=1.0), None, APART) == [0.0] * 4


def test_certain_labels_take_the_share_of_a_teacher_whose_classes_do_not_overlap() -> None:
    # Client 3 is recognised at 1 on class 0 and 0.95 on class 1, client 7 at 0.9 on class 0: certain by 1, ½ and 0.
    rates = [[1.0, 0.95], [0.9, 1.0]]
    assert shares(DistillConfig(kl=0.5, label=0.5), rates, APART) == pytest.approx([1.0, 0.75, 0.5, 0.5])
    assert shares(DistillConfig(kl=0.5, label=0.5), rates, TOGETHER) == pytest.approx([0.5] * 4)
    assert shares(DistillConfig(kl=3.0, label=1.0), rates, APART) == pytest.approx([1.0, 0.625, 0.25, 0.25])
    assert shares(DistillConfig(kl=0.5, label=0.5, overlap=False), rates, APART) == [0.5] * 4


def test_who_asks_for_no_label_gets_none_and_for_labels_alone_gets_them() -> None:
    rates = [[1.0, 1.0], [1.0, 1.0]]
    assert shares(DistillConfig(kl=1.0, label=0.0), rates, APART) == [0.0] * 4
    assert shares(DistillConfig(kl=0.0, label=1.0), rates, APART) == [1.0] * 4


@pytest.mark.parametrize(("mean", "images"), [(0.3, 1000), (0.9, 1000), (0.935, 500), (0.97, 0), (1.0, 0)])
def test_prior_images_help_as_far_as_generators_are_weak(mean: float, images: int) -> None:
    """All of `distill.prior_pool` up to a recognition of 0.9, none from 0.97 on."""
    open_prior = Config().with_values({"distill.prior_pool": 1000})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        settings = with_prior(open_prior, GREY, Recognition(torch.ones(1, 2), mean)).distill
    assert (settings.prior, settings.prior_pool) == (("photos", images) if images else ("none", 1000))


@pytest.mark.parametrize(("mean", "samples"), [(0.5, 16_000), (0.935, 28_000), (1.0, 0)])
def test_better_generators_give_more_samples(mean: float, samples: int) -> None:
    """16,000 of weak ones, and in a straight line up to 40,000, which is what 0 means for strong ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Note)
        assert with_prior(Config(), GREY, Recognition(torch.ones(1, 2), mean)).distill.pool == samples
        told = Config().with_values({"distill.pool": 7})
        assert with_prior(told, GREY, Recognition(torch.ones(1, 2), mean)).distill.pool == 7


def test_a_prior_that_the_user_names_or_nobody_can_measure_stays() -> None:
    weak = Recognition(torch.zeros(1, 2), 0.1)
    assert with_prior(Config().with_values({"distill.prior": "none"}), GREY, weak).distill.prior == "none"
    assert with_prior(Config(), GREY, None).distill.prior == "auto"


@pytest.mark.parametrize(
    ("choose", "mean", "expected"),
    [("auto", 0.9, True), ("auto", 0.95, False), ("auto", None, False), (True, 1.0, True), (False, 0.1, False)],
)
def test_clients_are_asked_where_generators_are_weak(
    choose: bool | Literal["auto"], mean: float | None, expected: bool
) -> None:
    measure = None if mean is None else Recognition(torch.ones(1, 2), mean)
    assert is_in_doubt(DistillConfig(choose=choose), measure) is expected


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


def test_candidates() -> None:
    default = Recipe("meta", 0.7, measured=True)
    teachers = ["meta", "class_balanced"]

    def names(recipe: Recipe, tried: list[str], *, labelled: bool = True) -> list[str]:
        return [candidate.name for candidate in candidates(recipe, tried, labelled=labelled)]

    assert names(default, teachers) == ["meta-measured", "meta-0", "class_balanced-50", "meta-100"]
    assert names(Recipe("meta", 1.0, measured=True), ["meta"]) == ["meta-measured", "meta-0"]
    assert names(default, teachers, labelled=False) == ["meta-0", "class_balanced-0"]


def test_teachers_that_are_tried() -> None:
    ensembles = ["class_balanced", "class_evened", "class_weighted"]
    assert tried_teachers(DistillConfig(), "meta") == ["meta", *ensembles]
    assert tried_teachers(DistillConfig(), "class_weighted") == ["class_weighted", *ensembles[:2]]
    assert tried_teachers(DistillConfig(teacher="mean_logits"), "meta") == ["mean_logits"]
    several = DistillConfig(teacher="meta", candidates=("class_balanced", "class_evened"))
    assert tried_teachers(several, "meta") == ["class_balanced", "class_evened"]


def test_the_best_score_wins_the_first_of_equals() -> None:
    recipes = [Recipe("meta", 0.0), Recipe("meta", 0.5), Recipe("meta", 1.0)]
    scores = dict(zip(recipes, (0.7, 0.9, 0.9), strict=True))
    best, report = choose(recipes, lambda r: scores[r])
    assert best == recipes[1]
    assert report == {"teacher": "meta", "label": 0.5, "validation": {"meta-0": 0.7, "meta-50": 0.9, "meta-100": 0.9}}


@pytest.mark.parametrize(("mean", "teacher"), [(0.5, "class_balanced"), (0.79, "class_balanced"), (0.8, "meta")])
def test_weak_generators_make_no_meta_model(mean: float, teacher: str) -> None:
    measure = Recognition(torch.ones(1, 2), mean)
    beside_photographs = DistillConfig(prior="photos")
    assert needs_meta(beside_photographs, GREY, measure) is (teacher == "meta")
    assert best_teacher(beside_photographs, GREY, measure, meta=True) == teacher


def test_a_meta_model_that_is_named_is_trained_whatever_is_measured() -> None:
    weak = Recognition(torch.zeros(1, 2), 0.0)
    assert needs_meta(DistillConfig(teacher="meta"), GREY, weak)
    assert needs_meta(DistillConfig(candidates=("meta",)), GREY, weak)
    assert not needs_meta(DistillConfig(teacher="class_evened"), GREY, None)


def test_without_a_measure_prior_images_decide_about_the_teacher() -> None:
    assert best_teacher(DistillConfig(), GREY, None, meta=True) == "meta"
    assert best_teacher(DistillConfig(), GREY, None, meta=False) == "class_weighted"
    assert best_teacher(DistillConfig(prior="photos"), GREY, None, meta=True) == "class_balanced"
    weak = Recognition(torch.ones(1, 2), 0.5)
    assert best_teacher(DistillConfig(prior="none"), GREY, weak, meta=False) == "class_balanced"


def test_the_overlap_of_many_clients_and_classes_is_the_mean_over_all_pairs() -> None:
    rng = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 30, (12, 25), generator=rng) * (torch.rand(12, 25, generator=rng) < 0.4)
    counts[0, counts.sum(0) == 0] = 1
    weights = class_weights(counts)
    pairs = [(a, b) for a in range(25) for b in range(25) if a != b]
    mean = sum(float(torch.minimum(weights[:, a], weights[:, b]).double().sum()) for a, b in pairs) / len(pairs)
    assert overlap(weights) == pytest.approx(mean, abs=1e-6)
