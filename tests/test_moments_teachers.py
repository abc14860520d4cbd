"""Teachers of class moments beside the mixture of experts, who is asked, and whole runs with them."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import QUICK, fails, mosaic
from moments_cases import split_by_class, told
from mosaic_fl.config import DistillConfig
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.server.choices import Choices
from mosaic_fl.server.experts import MixtureOfExperts, class_balanced
from mosaic_fl.server.recipes import Recipe
from mosaic_fl.server.recognition import Recognition
from mosaic_fl.server.region import as_contribution
from mosaic_fl.server.teachers import Teachers, moments, product

OUTPUTS = torch.tensor([[[2.0, 1.0, 0.0]]])  # of one expert that knows three classes alike
EVEN = MixtureOfExperts((), torch.ones(1, 3), torch.full((1, 3), 1 / 3))
CLOSED = torch.tensor([[0.2, 0.5, 0.3]]).log()


def teachers(closed: torch.Tensor, known: list[bool] | None = None) -> Teachers:
    classes = None if known is None else torch.tensor(known)
    return Teachers(EVEN, None, closed_outputs=closed, closed_classes=classes)


def test_the_product_is_the_geometric_mean_of_moments_and_mixture() -> None:
    own = OUTPUTS[:, 0].softmax(1)  # an expert without a bias is its own class-balanced ensemble
    assert torch.allclose(class_balanced(OUTPUTS, EVEN.weights, EVEN.priors).exp(), own, atol=1e-6)
    roots = (own * CLOSED.exp()).sqrt()
    expected = (roots / roots.sum()).log()
    assert torch.allclose(product(teachers(CLOSED), OUTPUTS), expected, atol=1e-6)
    assert torch.allclose(moments(teachers(CLOSED, [True] * 3), OUTPUTS), CLOSED, atol=1e-6)


def test_a_class_of_which_nobody_told_moments_is_judged_by_the_mixture() -> None:
    """The mixture says 0.665, 0.245, 0.090. Moments know the first two, 2 to 5: they share out 0.665 + 0.245."""
    mixture = OUTPUTS[:, 0].softmax(1)
    share = float(mixture[0, 0] + mixture[0, 1])
    answer = moments(teachers(CLOSED, [True, True, False]), OUTPUTS).exp()
    assert answer[0].tolist() == pytest.approx([share * 2 / 7, share * 5 / 7, float(mixture[0, 2])], abs=1e-6)


def test_moments_that_nobody_told_are_asked_for() -> None:
    for teacher in (moments, product):
        with pytest.raises(UsageError, match="no client sent class moments"):
            teacher(Teachers(EVEN, None), OUTPUTS)


def choices(sent: Contribution, *, judged: bool, **settings: object) -> Choices:
    measure = Recognition(torch.ones(1, 10), 0.99)
    weights = torch.ones(1, 10)
    return Choices(
        DistillConfig(**settings), sent.schema, measure, weights, gate=True, judged=judged, features="product"
    )


def test_the_product_serves_by_files_and_clients_that_can_be_asked_compare_it(digits: Dataset) -> None:
    sent = told(digits.subset(range(100)), 0)
    alone = choices(sent, judged=False)
    assert not alone.asked
    assert not alone.needs_meta  # nobody would compare it
    assert alone.best(meta=False) == "product"
    assert alone.default("product", Recipe("product", 0.7, measured=True)) == Recipe("product", 0.0)
    asked = choices(sent, judged=True)
    assert asked.asked  # also where generators are recognised
    assert asked.needs_meta
    tried = asked.tried("product", meta=True)
    assert tried == ["product", "moments", "meta"]
    recipes = asked.candidates(Recipe("product", 0.0), tried, labelled=True)
    assert [recipe.name for recipe in recipes] == ["product-0", "product-50", "moments-0", "meta-50"]
    named = choices(sent, judged=True, teacher="class_weighted")
    assert named.tried("class_weighted", meta=False) == ["class_weighted"]
    assert not choices(sent, judged=True, choose=False).asked


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, digits: Dataset) -> Path:
    """Pictures of two sites that share no class, and for tests."""
    folder = tmp_path_factory.mktemp("beside")
    for name, part in zip("ab", split_by_class(digits.subset(range(800)), 2), strict=True):
        save_parquet(part, folder / f"{name}.parquet")
    save_parquet(digits.subset(range(800, 1200)), folder / "test.parquet")
    return folder


FILES = ["--classes", "10", "--model", "mlp:32", "--set", "train.max_steps=100", "--set", "generator.steps=150"]


def test_a_plain_student_learns_by_files_from_sites_that_share_no_class(place: Path) -> None:
    for k, name in enumerate("ab"):
        words = ["--data", f"{name}.parquet", *FILES, "--moments", "gabor", "--client", str(k)]
        mosaic("contribute", *words, "--out", f"{k}.contribution", cwd=place)
    steps = ["--set", "distill.steps=250", "--set", "distill.pool=1500", "--set", "distill.terms=1"]
    words = ["--student", "cnn:8", "--test", "test.parquet", *steps, "--out", "global"]
    out = mosaic("distill", "0.contribution", "1.contribution", *words, cwd=place)
    assert "Public encoder: gabor (trained on nothing" in out
    assert "class moments of 2 of 2 clients" in out
    result = json.loads((place / "global" / "result.json").read_text())
    assert result["choice"]["teacher"] == "product"
    assert result["choice"]["moments"]["clients"] == [0, 1]
    assert result["teacher_accuracy"] > 0.95  # no expert alone can have more than a half
    assert result["accuracy"] > 0.8
    model = GlobalModel.load(place / "global")
    assert model.architecture == "cnn:8"
    assert model.schema.kind.name == "image"  # the encoder is no part of it


def test_both_kinds_of_sites_are_in_one_federation(place: Path) -> None:
    for k, more in enumerate([["--moments", "gabor"], []]):
        words = ["--data", f"{'ab'[k]}.parquet", *FILES, *more, "--client", str(k), "--force"]
        mosaic("contribute", *words, "--out", f"mixed-{k}.contribution", cwd=place)
    err = io.StringIO()
    words = ["--test", "test.parquet", *QUICK, "--set", "distill.teacher=auto", "--out", "mixed"]
    mosaic("distill", "mixed-0.contribution", "mixed-1.contribution", *words, cwd=place, err=err)
    assert "client 1 told no class moments; those of encoder gabor are of client 0" in err.getvalue()
    result = json.loads((place / "mixed" / "result.json").read_text())
    assert result["choice"]["moments"]["without"] == [1]
    assert min(recall for recall in result["recall"]) < max(result["recall"])
    assert result["teacher_accuracy"] > 0.6


def test_a_region_tells_the_moments_of_its_clients_together(digits: Dataset) -> None:
    parts = split_by_class(digits.subset(range(600)), 2)
    sent = [told(part, k, **{"generator.family": "cvae", "generator.steps": 3}) for k, part in enumerate(parts)]
    few = {"distill.steps": 2, "distill.pool": 50, "distill.prior": "none"}
    model = mosaic_fl.distill(sent, student="mlp:4", settings=few)
    region = Contribution.from_bytes(as_contribution(model, sent, 7).to_bytes())
    assert region.moments is not None
    assert region.moments.state["counts"].equal(digits.subset(range(600)).class_counts())
    plain = [replace(contribution, moments=None) for contribution in sent]
    assert as_contribution(model, plain, 7).moments is None


def test_wrong_words_are_one_line_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "--data", "digits", "--workers", "1"]
    assert "unknown moments.encoder 'garbo'" in fails(capsys, *run, "--moments", "garbo")
    assert "--moments gabor is for pictures" in fails(capsys, *run, "--encoder", "gabor", "--moments", "gabor")
    no_use = fails(capsys, *run, "--method", "fedavg", "--moments", "gabor")
    assert "FedAvg has no use for class moments: leave --moments out" in no_use
    assert "say --moments NAME" in fails(capsys, *run, "--set", "distill.teacher=product")
