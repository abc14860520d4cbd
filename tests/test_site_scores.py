"""Scores of models at a site: what is told of few samples, who gains, and what a received file may say."""

import json
from dataclasses import replace
from math import sqrt

import pytest
import torch

from mosaic_fl.client.scoring import Judged, gain, gain_line, score
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.score_names import GLOBAL, OWN
from mosaic_fl.exchange.site_scores import Gain, SiteScores, groups_of, recalls_of
from mosaic_fl.numerics.intervals import paired_difference
from mosaic_fl.runs.cross_site import KEY, deployed
from mosaic_fl.storage import container
from table_cases import rows


class Answers:
    """An expert that answers with the classes in its first column, all of them with certainty, or cannot tell."""

    def __init__(self, classes: list[int]) -> None:
        self.classes = torch.tensor(classes)

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> torch.Tensor:
        outputs = torch.full((len(samples), 3), -20.0)
        outputs[range(len(samples)), self.classes.clamp(min=0)] = 0.0
        outputs[self.classes < 0] = torch.nan
        return outputs


LABELS = [0] * 6 + [1] * 3 + [2]
DATA = rows(torch.zeros(10, 4), torch.tensor(LABELS))


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([9, 7, 5], [(0,), (1,), (2,)]),
        ([9, 3, 2, 7], [(0,), (3,), (1, 2)]),  # 3 + 2 are 5
        ([9, 3, 0, 7], [(0,), (1, 2, 3)]),  # 3 are too few, and 9 + 7 of 19 would tell them: the smallest joins
        ([9, 0], [(0, 1)]),  # or all would see that a class is absent
        ([2, 2], [(0, 1)]),
        ([5], [(0,)]),
    ],
)
def test_classes_of_few_samples_are_told_as_one(counts: list[int], groups: list[tuple[int, ...]]) -> None:
    assert groups_of(counts, 5) == groups


def test_recalls_of_groups_are_of_their_samples_together() -> None:
    one, rest = recalls_of([6, 3, 2], [3, 3, 1], 5)
    assert (one.classes, one.samples, one.recall) == ((0,), 6, 0.5)
    assert (rest.classes, rest.samples, rest.recall) == ((1, 2), 5, 0.8)


def test_scores_of_two_models_and_what_a_site_gains() -> None:
    """The global model is right on 9 of 10, the site's own on 6: it is right alone on none, the global one on 3."""
    shared = Judged(GLOBAL, Answers([0] * 6 + [1] * 3 + [0]), "a" * 64)
    scores = score(3, DATA, [shared, Judged(OWN, Answers([0] * 10))], 2)
    first, own = scores.models
    assert (scores.client, scores.samples, first.accuracy, own.accuracy) == (3, 10, 0.9, 0.6)
    assert [(g.classes, g.samples, g.recall) for g in first.recall] == [((0,), 6, 1.0), ((1, 2), 4, 0.75)]
    assert first.ece == pytest.approx(0.1, abs=1e-6)  # it is always certain
    assert own.auroc == pytest.approx(0.5)  # of classes 0 and 1: of class 2 there is one sample
    assert own.gain is None
    assert first.gain is not None
    assert first.gain.points == pytest.approx(30)
    low, high = paired_difference(3, 0, 10)
    assert (first.gain.low, first.gain.high) == pytest.approx((100 * low, 100 * high))
    middle = 3 / 12
    assert high - middle == pytest.approx(1.959964 * sqrt((4 / 12 - middle**2) / 12))


def test_a_sample_that_a_model_cannot_read_is_no_hit() -> None:
    scores = score(0, DATA, [Judged(OWN, Answers([-1] * 6 + [1] * 3 + [2]))], 1)
    assert scores.models[0].accuracy == 0.4


def test_too_few_samples_have_no_scores() -> None:
    with pytest.raises(UsageError, match="10 samples are held back, and at least 11"):
        score(0, DATA, [Judged(GLOBAL, Answers(LABELS))], 11)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            Gain(30.0, 10.0, 50.0),
            "The site gains 30.0 points of accuracy by taking part (95 % interval +10.0 to +50.0)",
        ),
        (Gain(-30.0, -50.0, -10.0), "The site loses 30.0 points"),
        (Gain(3.0, -5.0, 11.0), "Whether the site gains is not certain, at +3.0 points"),
    ],
)
def test_one_sentence_says_whether_a_site_gains(found: Gain, words: str) -> None:
    scores = score(0, DATA, [Judged(GLOBAL, Answers(LABELS)), Judged(OWN, Answers([0] * 10))], 5)
    told = replace(scores, models=(replace(scores.models[0], gain=found), scores.models[1]))
    assert gain_line(told).startswith(words)
    assert "right on 100.0 % of 10 samples held back here, its own on 60.0 %" in gain_line(told)
    assert gain_line(replace(scores, models=scores.models[:1])) == ""


def test_models_that_are_alike_have_no_difference() -> None:
    right = torch.tensor([True] * 7 + [False] * 3)
    same = gain(right, right)
    assert same.points == 0
    assert same.low == -same.high


def test_scores_survive_their_file_and_hold_figures_alone() -> None:
    scores = score(7, DATA, [Judged(GLOBAL, Answers(LABELS), "b" * 64), Judged(OWN, Answers([0] * 10))], 5)
    content = scores.to_bytes()
    assert SiteScores.from_bytes(content) == scores
    assert len(content) < 2000


def forged(**changes: object) -> bytes:
    content = score(7, DATA, [Judged(GLOBAL, Answers(LABELS))], 2).to_json()
    model = content["models"][0]
    for name, value in changes.items():
        (model if name in model else content)[name] = value
    return container.pack("scores", content, {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"client": -1}, "not a site's scores"),
        ({"samples": True}, "not a site's scores"),
        ({"models": []}, "not a site's scores"),
        ({"least": 11}, "at least 11 are behind each"),
        ({"least": 5}, "a recall of fewer than 5"),
        ({"samples": 11}, "another number of samples than 11"),
        ({"classes": 2}, "each of 2 classes once"),
        ({"accuracy": 0.5}, "make an accuracy of 1.0000, and it says 0.5000"),
        ({"accuracy": 1.5}, "its scores of a model are none"),
        ({"ece": "0"}, "its scores of a model are none"),
        ({"digest": "../etc"}, "its scores of a model are none"),
        ({"gain": {"points": 1e9, "low": 0, "high": 0}}, "its gain is none"),
        ({"recall": [{"classes": [[]], "samples": 10, "recall": 1}]}, "its recall of a class is none"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        SiteScores.from_bytes(forged(**changes), "a file")
    assert str(error.value).startswith("a file: ")


def test_other_files_are_no_scores() -> None:
    for content in (b"", b"{}", json.dumps({"client": 1}).encode(), container.pack("contribution", {}, {})):
        with pytest.raises(UsageError):
            SiteScores.from_bytes(content)
    extra = {"weights": torch.zeros(2)}
    with pytest.raises(UsageError, match="tensors"):
        SiteScores.from_bytes(
            container.pack("scores", score(0, DATA, [Judged(GLOBAL, Answers(LABELS))], 5).to_json(), extra)
        )


def test_the_table_of_a_deployed_run_has_who_tells_who_answers_and_who_does_not() -> None:
    scores = score(0, DATA, [Judged(GLOBAL, Answers(LABELS)), Judged(OWN, Answers([0] * 10))], 5)
    seven = torch.tensor([[6, 0, 0], [1, 0, 0], [0, 0, 0]])
    confusions = {0: torch.diag(torch.tensor([6, 3, 1])), 1: seven, 2: torch.zeros(3, 3, dtype=torch.int64)}
    sites = deployed({0: scores}, confusions, 4, ["a", "b", "c"])[KEY]["sites"]
    assert [site["client"] for site in sites] == [0, 1, 2, 3]
    assert [model["model"] for model in sites[0]["models"]] == ["global", "own"]
    (only,) = sites[1]["models"]
    assert only["accuracy"] == 6 / 7
    assert [(g["classes"], g["samples"]) for g in only["recall"]] == [((0, 1, 2), 7)]
    assert [site["why"] for site in sites] == [None, None, "it held fewer than 5 samples back", "it did not answer"]
    assert deployed({}, {}, 2, ["a", "b", "c"]) == {}
