"""Sites without a model and without a generator: what they tell is their class moments, and pictures are decoded."""

import json
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import fails, mosaic
from moments_cases import FEW, split_by_class
from mosaic_fl.config import DistillConfig
from mosaic_fl.data.export import save_parquet
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.kind import Image
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.experts.no_model import NoModel
from mosaic_fl.notes import Note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.feature_space import feature_space, space_teacher
from mosaic_fl.server.transfer import UNLABELLED, decoded_samples, transfer_set
from vector_cases import clouds

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sent(digits: Dataset) -> list[Contribution]:
    """Two sites that share no class, and tell moments of an encoder that can decode."""
    settings = {**FEW, "moments.encoder": "strokes"}
    parts = split_by_class(digits.subset(range(800)), 2)
    return [mosaic_fl.contribute(part, model="none", client=k, settings=settings) for k, part in enumerate(parts)]


def test_a_site_without_a_model_says_its_classes_shares(digits: Dataset, sent: list[Contribution]) -> None:
    again = Contribution.from_bytes(sent[0].to_bytes())
    expert = again.build_expert()
    assert isinstance(expert, NoModel)
    counts = again.class_counts.double() + 1
    answers = expert.log_probabilities(digits.samples[:3]).exp()
    assert torch.allclose(answers, (counts / counts.sum()).float().expand(3, -1), atol=1e-6)
    assert len(sent[0].to_bytes()) < 10_000


def test_what_is_no_state_of_a_site_without_a_model_is_refused(sent: list[Contribution]) -> None:
    for state in ({}, {"counts": torch.ones(9, dtype=torch.int64)}, {"counts": -torch.ones(10, dtype=torch.int64)}):
        bad = Contribution(**{**vars(sent[0]), "expert": state}).to_bytes()
        with pytest.raises(UsageError, match=r"a site without a model \(none\) has 10 counts"):
            Contribution.from_bytes(bad)


def test_decoded_pictures_are_of_the_schema_and_show_their_classes(sent: list[Contribution], digits: Dataset) -> None:
    space = feature_space(sent)
    assert space is not None
    assert space_teacher(space, sent) == "moments"  # no client has a model
    drawn = space.decoded(600, digits.schema.fields, Stream(0, "decoded"))
    again = space.decoded(600, digits.schema.fields, Stream(0, "decoded"))
    assert drawn.only.shape == (600, 1, 8, 8)
    assert drawn.only.dtype == torch.uint8
    assert torch.equal(drawn.only, again.only)
    shares = torch.bincount(space.expert.log_probabilities(drawn).argmax(1), minlength=10) / 600
    assert float(shares.min()) > 0.03  # drawn evenly, and each class is found again


def test_the_pool_has_decoded_pictures_without_labels(sent: list[Contribution]) -> None:
    space = feature_space(sent)
    transfer = transfer_set(sent, DistillConfig(pool=50, prior="none"), 0, CPU, space=space)
    assert transfer.counts() == {"generators": 0, "prior": 0, "decoded": 50}
    assert transfer.labels.tolist() == [UNLABELLED] * 50
    mixed = transfer_set(sent, DistillConfig(pool=50, prior="procedural", prior_pool=30), 0, CPU, space=space)
    assert mixed.counts() == {"generators": 0, "prior": 30, "decoded": 50}
    assert torch.equal(mixed.samples.only[:50], transfer.samples.only)


def test_fewer_large_pictures_are_decoded(digits: Dataset) -> None:
    """2²⁸ pixels: 24,000 of 8×8 as of any small size, 5,349 of 224×224, and what the user says."""
    assert decoded_samples(DistillConfig(), digits.schema) == 24_000
    large = Schema({"image": Image((1, 224, 224))}, digits.schema.classes)
    assert decoded_samples(DistillConfig(), large) == 5349
    assert decoded_samples(DistillConfig(pool=9000), large) == 9000


def test_moments_alone_teach_a_plain_student(digits: Dataset, tmp_path: Path) -> None:
    for name, part in zip("ab", split_by_class(digits.subset(range(800)), 2), strict=True):
        save_parquet(part, tmp_path / f"{name}.parquet")
    save_parquet(digits.subset(range(800, 1200)), tmp_path / "test.parquet")
    for k, name in enumerate("ab"):
        words = ["--data", f"{name}.parquet", "--classes", "10", "--model", "none", "--generator", "none"]
        more = ["--moments", "strokes", "--client", str(k), "--out", f"{k}.contribution"]
        mosaic("contribute", *words, *more, cwd=tmp_path)
    steps = ["--set", "distill.steps=300", "--set", "distill.pool=3000", "--set", "distill.terms=1"]
    files = ["0.contribution", "1.contribution", "--student", "cnn:8", "--test", "test.parquet", *steps]
    mosaic("distill", *files, "--out", "global", cwd=tmp_path)
    result = json.loads((tmp_path / "global" / "result.json").read_text())
    assert result["choice"]["teacher"] == "moments"
    assert result["accuracy"] > 0.6  # chance is 0.1


def test_a_site_that_would_tell_nothing_is_told(digits: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**FEW, "moments.encoder": ""}
    with pytest.raises(UsageError, match="such a site tells nothing"):
        mosaic_fl.contribute(digits.subset(range(60)), model="none", client=0, settings=settings)
    run = ["run", "--data", "digits", "--workers", "1", "--models", "none", "--generator", "none"]
    assert "such a site tells nothing" in fails(capsys, *run, "--prior", "procedural")
    assert "--moments with an encoder that decodes" in fails(capsys, *run, "--moments", "gabor", "--prior", "none")
    assert "model 'none' is no network" in fails(capsys, "run", "--data", "digits", "--student", "none")


def test_a_class_of_too_few_samples_is_told_where_it_is_left_out() -> None:
    """80 vectors of class 0, 4 of class 2 and none of class 1."""
    data = clouds()
    rows = [*range(0, 240, 3), *range(2, 14, 3)]
    sent = mosaic_fl.contribute(data.subset(rows), model="discriminant", client=0, settings={"data.validation": 0.0})
    assert sent.generator_note.endswith("; without 1 class of fewer than 10 samples")
    all_of_them = mosaic_fl.contribute(data, model="discriminant", client=0)
    assert "without" not in all_of_them.generator_note


def test_beside_pictures_it_is_a_note(digits: Dataset) -> None:
    zeros, ones = ((digits.labels == label).nonzero()[:count, 0].tolist() for label, count in ((0, 40), (1, 5)))
    few = digits.subset([*zeros, *ones])
    settings = {"moments.encoder": "gabor:8", "generator.family": "none", "data.validation": 0.0}
    with pytest.warns(Note, match="the class moments of gabor:8 are without 1 class of fewer than 10 samples"):
        mosaic_fl.contribute(few, model="none", client=0, settings=settings)
