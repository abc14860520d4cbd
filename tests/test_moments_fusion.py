"""The gate and the meta model with class moments as one expert more: `moments_gate` and `moments_meta`."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

import mosaic_fl
from command import fails
from moments_cases import split_by_class, told
from mosaic_fl.config import Config, MetaConfig
from mosaic_fl.config.checks import check_teacher
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.encoders import strokes
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.forecast.server import Contributor, distillation
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.experts import MixtureOfExperts, class_weights
from mosaic_fl.server.feature_space import feature_space
from mosaic_fl.server.fusion import joined_weights
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.moments_gate import load_moments_gate, moments_gate_state, responsibilities
from mosaic_fl.server.pool import Sampler
from mosaic_fl.server.teachers import Teachers, moments_gate, moments_meta
from mosaic_fl.training.monitor import Recorder
from vector_cases import clouds

CPU = torch.device("cpu")
TWO = torch.tensor([[[0.8, 0.2], [0.4, 0.6]]]).log() + 2.0  # logits of two experts
CLOSED = torch.tensor([[0.1, 0.9]]).log()
EVEN = MixtureOfExperts((), torch.full((2, 2), 0.5), torch.full((2, 2), 0.5))
BEFORE = {"generator.family": "cvae", "generator.steps": 5}


def test_the_law_of_total_probability_with_moments_by_hand() -> None:
    """¼·(0.8, 0.2) + ¼·(0.4, 0.6) + ½·(0.1, 0.9) = (0.35, 0.65)."""
    teachers = Teachers(EVEN, None, closed_outputs=CLOSED, moments_shares=torch.tensor([[0.25, 0.25, 0.5]]).log())
    assert torch.allclose(moments_gate(teachers, TWO).exp(), torch.tensor([[0.35, 0.65]]), atol=1e-6)


def test_before_it_learns_the_meta_model_is_the_class_weighted_ensemble_with_moments_in_it() -> None:
    """Class 0: weights ¼, ¼, ½ of 0.8, 0.4, 0.1 are 0.35; class 1: 0, ½, ½ of 0.2, 0.6, 0.9 are 0.75."""
    weights = torch.tensor([[0.25, 0.0], [0.25, 0.5], [0.5, 0.5]])
    model = MetaTransformer(weights, MetaConfig(width=4, heads=1, layers=1)).eval()
    teachers = Teachers(EVEN, None, closed_outputs=CLOSED, moments_meta=model)
    assert torch.allclose(moments_meta(teachers, TWO).exp(), torch.tensor([[0.35, 0.75]]) / 1.1, atol=1e-5)


def test_a_sample_counts_for_the_moments_as_far_as_they_name_it_better_by_hand() -> None:
    own = torch.tensor([0.2, 0.5, 0.9]).log()
    moments = torch.tensor([0.6, 0.5, 0.1]).log()
    assert responsibilities(own, moments).tolist() == pytest.approx([0.75, 0.5, 0.1], abs=1e-6)


@dataclass(frozen=True)
class Same:
    """An expert that says of each sample of clouds what its class is with the probability `right`."""

    right: float

    def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
        classes = (samples.only.mean(1) / 3).round().clamp(0, 2).long()
        answers = torch.full((len(samples), 3), (1 - self.right) / 2)
        answers[torch.arange(len(samples)), classes] = self.right
        return answers.log()


@pytest.mark.parametrize(("right", "least", "most"), [(1e-6, 0.0, 0.05), (0.999, 0.4, 0.6)])
def test_the_gate_learns_where_moments_are_right(right: float, least: float, most: float) -> None:
    """Experts are right on their own samples: moments that are, too, get half of these, and wrong ones nothing."""
    data = clouds(600)
    settings = {"generator.family": "moments", "data.validation": 0.0}
    parts = [data.subset((data.labels == c).nonzero().flatten().tolist()) for c in range(3)]
    sent = [mosaic_fl.contribute(p, model="discriminant", client=k, settings=settings) for k, p in enumerate(parts)]
    mixture = MixtureOfExperts.of(sent)
    sampler = Sampler(sent, CPU, mixture.experts)
    state = moments_gate_state(sent, mixture, Same(right), sampler, 1500, 0, CPU, Recorder())
    shares = load_moments_gate(state, sent).log_shares(data.samples).exp()
    assert shares.shape == (600, 4)
    assert torch.allclose(shares.sum(1), torch.ones(600), atol=1e-5)
    assert least <= float(shares[:, 3].mean()) <= most
    own = shares[torch.arange(600), data.labels]  # what is left goes to the client that has the class
    assert float(own.mean()) > 0.9 * (1 - most)


@pytest.fixture(scope="module")
def sent(digits: Dataset) -> list[Contribution]:
    parts = split_by_class(digits.subset(range(600)), 2)
    return [told(part, k, **BEFORE) for k, part in enumerate(parts)]


def test_moments_weigh_as_a_client_of_all_samples_that_were_told(sent: list[Contribution], digits: Dataset) -> None:
    space = feature_space(sent)
    assert space is not None
    counts = torch.stack([c.class_counts for c in sent])
    weights = joined_weights(class_weights(counts), sent, space)
    expected = class_weights(torch.cat([counts, counts.sum(0, keepdim=True)]))
    assert torch.allclose(weights, expected, atol=1e-6)
    silent = [sent[0], replace(sent[1], moments=None)]
    with pytest.warns(UserWarning, match="client 1 told no class moments"):
        space = feature_space(silent)
    assert space is not None
    weights = joined_weights(class_weights(counts), silent, space)
    assert weights[2].tolist() == [0.5 if n else 0.0 for n in counts[0].tolist()]
    assert torch.allclose(weights.sum(0), torch.ones(10))


@pytest.mark.parametrize("teacher", ["moments_gate", "moments_meta"])
def test_a_distillation_is_taught_by_them_and_the_same_each_time(sent: list[Contribution], teacher: str) -> None:
    settings = {
        "distill.teacher": teacher, "distill.steps": 3, "distill.pool": 60, "distill.terms": 1, "distill.prior": "none",
        "distill.gate_samples": 200, "meta.samples": 200, "meta.steps": 10, "distill.label": 0.0,
    }  # fmt: skip
    first, again = (mosaic_fl.distill(sent, student="mlp:4", settings=settings) for _ in range(2))
    assert first.to_bytes() == again.to_bytes()
    other = mosaic_fl.distill(sent, student="mlp:4", settings={**settings, "distill.teacher": "moments"})
    assert first.to_bytes() != other.to_bytes()
    plain = [replace(contribution, moments=None) for contribution in sent]
    with pytest.raises(UsageError, match="class moments"):
        mosaic_fl.distill(plain, student="mlp:4", settings=settings)
    mute = [replace(c, generator=None, generator_spec=None) for c in sent]
    with pytest.raises(UsageError, match=f"{teacher}, which learns from generators, and no client sent one"):
        mosaic_fl.distill(mute, student="mlp:4", settings={**settings, "distill.prior": "procedural"})


def test_an_encoder_that_first_answers_can_be_descended_through_later(digits: Dataset) -> None:
    """The gate asks the encoder before pictures are decoded, and the network that it builds then is kept."""
    strokes._network.cache_clear()
    space = feature_space([told(digits.subset(range(300)), 0, **{"moments.encoder": "strokes"})])
    strokes._network.cache_clear()
    assert space is not None
    assert space.expert.log_probabilities(digits.samples[:4]).shape == (4, 10)
    drawn = space.decoded(4, digits.schema.fields, Stream(0, "decoded"), inversion=1)
    assert drawn.only.shape == (4, 1, 8, 8)


def test_a_forecast_counts_them(digits: Dataset) -> None:
    contributors = [Contributor("cnn:16", "cvae", 500), Contributor("cnn:16", "cvae", 500)]

    def stages(teacher: str) -> set[str]:
        config = Config().with_values({"distill.teacher": teacher, "moments.encoder": "gabor"})
        work = distillation(config, digits.schema, contributors, "cnn:16", can_score=False)
        return {job.stage for job in work.jobs if job.unit.kind in ("train", "meta")}

    assert stages("moments") == set()
    assert stages("moments_gate") == {"gate"}
    assert stages("moments_meta") == {"meta"}


def test_wrong_words_are_one_line_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "--data", "digits", "--workers", "1"]
    for teacher in ("moments_gate", "moments_meta"):
        alone = fails(capsys, *run, "--set", f"distill.teacher={teacher}")
        assert f"distill.teacher is {teacher}, and no client tells class moments: say --moments NAME" in alone
        with pytest.raises(UsageError, match=f"distill.teacher is {teacher}, which learns from generators"):
            check_teacher(Config().with_values({"distill.teacher": teacher, "generator.family": "none"}))
    with pytest.raises(UsageError, match=r"moments_meta, but meta\.kind is none"):
        check_teacher(Config().with_values({"distill.teacher": "moments_meta", "meta.kind": "none"}))
    with pytest.raises(UsageError, match="moments_gate, which chooses among clients' own experts"):
        check_teacher(Config().with_values({"distill.candidates": ["moments_gate"], "experts.kind": "class_average"}))
