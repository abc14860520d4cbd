"""Many experts and classes: what is computed in parts is what the whole gives, and fits the memory."""

import pytest
import torch
from torch import Tensor

from mosaic_fl.config import MetaConfig
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.exchange.contribution import Contribution, Prototypes
from mosaic_fl.models import build
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.notes import Note
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.registries import TEACHERS
from mosaic_fl.server import experts, meta_training
from mosaic_fl.server.experts import MixtureOfExperts, at_once, class_priors, class_weights
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.meta_training import few_enough, most_samples
from mosaic_fl.server.prototypes import prototype_outputs
from mosaic_fl.server.teachers import READ_SAMPLES, WITHOUT_BIAS, Teachers

CLASSES = 7
SCHEMA = image_schema((1, 4, 4), tuple(map(str, range(CLASSES))))


@pytest.fixture
def mixture() -> MixtureOfExperts:
    torch.manual_seed(0)
    counts = torch.randint(0, 9, (3, CLASSES))
    networks = tuple(build("mlp:8", SCHEMA).eval() for _ in range(3))
    return MixtureOfExperts(networks, class_weights(counts), class_priors(counts))


def images(n: int) -> Samples:
    values = torch.randint(256, (n, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Samples(SCHEMA.fields, {"image": values})


def all_teachers(mixture: MixtureOfExperts) -> Teachers:
    meta = MetaTransformer(mixture.weights, MetaConfig(width=8, heads=2)).eval()
    torch.nn.init.normal_(meta.vote.weight)
    return Teachers(mixture, meta)


def test_teachers_in_parts_say_what_they_say_of_all_at_once(
    mixture: MixtureOfExperts, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers, samples = all_teachers(mixture), images(9000)  # three parts
    names = [*(WITHOUT_BIAS - READ_SAMPLES), "class_evened"]
    outputs = mixture.outputs(samples)
    whole = teachers.evened_over(teachers.log_probabilities("class_balanced", outputs))
    evened, answers = teachers.over(names, samples)
    assert evened.bias is not None
    assert whole.bias is not None
    assert torch.equal(evened.bias, whole.bias)
    assert sorted(answers) == sorted(names)
    for name in names:
        assert torch.equal(answers[name], whole.log_probabilities(name, outputs)), name
    monkeypatch.setattr(experts, "LARGEST_PART", 1)  # the least parts, as of many experts and classes
    _, answers = teachers.over(names, samples)
    for name in names:
        assert torch.allclose(answers[name], whole.log_probabilities(name, outputs), atol=1e-5), name


def test_a_teacher_of_another_package_reads_the_bias(
    mixture: MixtureOfExperts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def foreign(teachers: Teachers, outputs: Tensor) -> Tensor:
        assert teachers.bias is not None
        return teachers.bias.expand(len(outputs), -1)

    monkeypatch.setitem(TEACHERS._entries, "foreign", foreign)
    evened, answers = Teachers(mixture, None).over(["foreign"], images(5))
    assert evened.bias is not None
    assert torch.equal(answers["foreign"], evened.bias.expand(5, -1))


def test_the_outputs_of_a_hundred_experts_on_two_hundred_classes_never_exist_as_a_whole() -> None:
    few = at_once(4 * 100 * 200)
    assert few == 768  # 2²⁶ / 80,000, in whole batches of 128: 61 MB
    assert few * 4 * 100 * 200 <= 2**26
    assert at_once(4 * 50 * 43) == 4096
    assert at_once(2**40) == 128
    seen = list[tuple[int, ...]]()
    weights = torch.ones(100, 200)

    class Silent:
        def log_probabilities(self, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
            return torch.zeros(len(samples), 200)

    def look(outputs: Tensor) -> Tensor:
        seen.append(tuple(outputs.shape))
        return outputs[:, 0]

    fused = MixtureOfExperts((Silent(),) * 100, weights, weights).fused(images(1000), {"first": look})
    assert fused["first"].shape == (1000, 200)
    assert seen == [(768, 100, 200), (232, 100, 200)]


def test_the_meta_model_takes_samples_in_parts_where_it_does_not_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    meta = MetaTransformer(torch.full((5, CLASSES), 0.2), MetaConfig(width=8, heads=2)).eval()
    torch.nn.init.normal_(meta.vote.weight)
    outputs = torch.randn(300, 5, CLASSES)
    with torch.no_grad():
        whole = meta(outputs)
        monkeypatch.setattr(experts, "LARGEST_PART", 1)
        sizes, fuse = list[int](), meta._fuse

        def look(part: Tensor) -> Tensor:
            sizes.append(len(part))
            return fuse(part)

        monkeypatch.setattr(meta, "_fuse", look)
        assert torch.allclose(meta(outputs), whole, atol=1e-6)
    assert sizes == [128, 128, 44]


def test_the_meta_model_learns_from_as_many_samples_as_fit() -> None:
    assert most_samples(100, 200) == 6710  # 2²⁹ / 80,000
    assert few_enough(8000, torch.zeros(50, 43)) == 8000
    with pytest.warns(Note, match="learns from 6,710 samples, not 8,000: .* of 100 experts for 200 classes"):
        assert few_enough(8000, torch.zeros(100, 200)) == 6710


def test_prototypes_that_are_left_out_are_spread_over_all(
    mixture: MixtureOfExperts, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = torch.full((CLASSES,), 9)
    labels, sizes = torch.arange(6), torch.full((6,), 5)
    every = [
        Contribution(k, SCHEMA, "mlp:8", copy_state(expert), counts, Prototypes(torch.rand(6, 8), labels, sizes), {})
        for k, expert in enumerate(mixture.experts)
        if isinstance(expert, Classifier)
    ]
    outputs, classes = prototype_outputs(every, mixture)
    assert classes.tolist() == [*range(6)] * 3
    monkeypatch.setattr(meta_training, "LARGEST", 9 * 4 * 3 * CLASSES)  # nine of eighteen
    with pytest.warns(Note, match="learns from 9 samples, not 18"):
        few, classes = prototype_outputs(every, mixture)
    assert classes.tolist() == [0, 2, 4] * 3
    assert torch.allclose(few, outputs[::2], atol=1e-6)
