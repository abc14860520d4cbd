import pytest
import torch
from torch import nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators import GeneratorSpec, build
from mosaic_fl.generators.dcgan import DCGANGenerator, Discriminator, train_gan
from mosaic_fl.models import Classifier
from mosaic_fl.models import build as build_model
from mosaic_fl.models.classifier import Wrapper
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")
FAMILIES = ["dcgan", "cdcgan"]


def settings(family: str, **more: float) -> GeneratorConfig:
    return GeneratorConfig.model_validate(
        {"family": family, "steps": 6, "latent": 4, "width": 4, "lr": 1e-3, "batch_size": 16, **more}
    )


def expert(data: Dataset) -> Classifier:
    with Stream(0, "expert").ambient():
        return build_model("cnn:4", data.schema)


def weights(data: Dataset, config: GeneratorConfig, seed: int = 0) -> torch.Tensor:
    made = train_gan(data, expert(data), config, Stream(seed, "g"), CPU, Recorder())
    return torch.cat([p.flatten() for p in made.parameters()])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 17, 30), (1, 5, 5), (1, 1, 8), (4, 3, 1)])
def test_shapes_and_range(family: str, shape: tuple[int, int, int]) -> None:
    schema = image_schema(shape, ("a", "b", "c"))
    spec, labels = GeneratorSpec(family, 4, 4), torch.tensor([0, 1, 2, 0])
    generator = build(spec, schema)
    images = generator(torch.randn(4, 4), labels)
    assert images.shape == (4, *shape)
    assert images.abs().max() <= 1
    assert Discriminator(spec, schema)(images, labels).shape == (4,)
    assert generator.sample(labels[:1], Stream(0, "z").torch()).shape == (1, *shape)


def test_only_the_conditional_one_heeds_labels() -> None:
    schema, z = image_schema((1, 8, 8), ("a", "b")), torch.randn(2, 4)
    for family in FAMILIES:
        generator = DCGANGenerator(GeneratorSpec(family, 4, 4), schema).eval()
        assert generator.conditional == (family == "cdcgan")
        same = torch.equal(generator(z, torch.tensor([0, 0])), generator(z, torch.tensor([1, 1])))
        assert same != generator.conditional


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_stream_gives_the_same_generator(digits: Dataset, family: str) -> None:
    data = digits.subset(range(40))
    assert torch.equal(weights(data, settings(family)), weights(data, settings(family)))
    assert not torch.equal(weights(data, settings(family)), weights(data, settings(family), seed=1))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("term", ["adversarial", "entropy", "diversity", "inversion"])
def test_every_term_has_its_weight(digits: Dataset, family: str, term: str) -> None:
    data = digits.subset(range(40))
    with_term, without = settings(family, **{term: 2.0}), settings(family, **{term: 0.0})
    assert not torch.equal(weights(data, with_term), weights(data, without))


def test_inversion_only_below_its_threshold(digits: Dataset) -> None:
    data, without = digits.subset(range(40)), settings("dcgan", inversion=0.0)
    assert torch.equal(weights(data, settings("dcgan", inversion_below=40)), weights(data, without))
    assert not torch.equal(weights(data, settings("dcgan", inversion_below=41)), weights(data, without))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("samples", [1, 2, 17, 20])
def test_few_samples_of_one_class_or_constant_images(digits: Dataset, family: str, samples: int) -> None:
    """17 samples and batches of 16: a batch of one would be left over."""
    rows = (digits.labels == 4).nonzero().flatten()[:samples]
    for data in (digits.subset(rows), image_dataset(digits.images[rows] * 0, digits.labels[rows], digits.schema)):
        assert weights(data, settings(family)).isfinite().all()


def test_the_expert_is_left_as_it_was(digits: Dataset) -> None:
    data, model = digits.subset(range(40)), expert(digits).train()
    next(model.parameters()).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train_gan(data, model, settings("dcgan"), Stream(0, "g"), CPU, Recorder())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * (len(list(model.parameters())) - 1)
    assert all(p.grad is None for p in model.parameters())


def test_an_expert_keeps_the_mode_of_each_of_its_layers(digits: Dataset) -> None:
    model = expert(digits).train()
    frozen = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    train_gan(digits.subset(range(40)), model, settings("dcgan"), Stream(0, "g"), CPU, Recorder())
    assert [m for m in model.modules() if not m.training] == [frozen]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sample_does_not_depend_on_its_batch(family: str) -> None:
    """In training mode too, so that a batch of one is nothing special."""
    schema, z, labels = image_schema((1, 8, 8), ("a", "b")), torch.randn(5, 4), torch.tensor([0, 1, 0, 1, 1])
    spec = GeneratorSpec(family, 4, 4)
    generator, judge = DCGANGenerator(spec, schema).train(), Discriminator(spec, schema).train()
    images = generator(z, labels)
    torch.testing.assert_close(images[:1], generator(z[:1], labels[:1]))
    torch.testing.assert_close(judge(images, labels)[:1], judge(images[:1], labels[:1]))


def test_the_label_starts_quieter_than_the_latent() -> None:
    """N(0, 0.02) against z's N(0, 1): a label as loud as z leaves one picture a class."""
    generator = DCGANGenerator(GeneratorSpec("cdcgan", 64, 4), image_schema((1, 8, 8), tuple("0123456789")))
    assert generator.embed is not None
    assert generator.embed.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_terms_without_weight_cost_nothing_and_all_without_is_an_error(digits: Dataset) -> None:
    data, none = digits.subset(range(40)), {"entropy": 0.0, "diversity": 0.0, "inversion": 0.0}

    class Untouchable(Classifier):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise AssertionError("nobody should ask")

    train_gan(data, Untouchable(), settings("dcgan", **none), Stream(0, "g"), CPU, Recorder())
    recorder = Recorder()
    train_gan(data, expert(data), settings("dcgan", adversarial=0.0), Stream(0, "g"), CPU, recorder)
    assert recorder.metrics[0].keys() == {"step", "entropy", "diversity", "inversion"}
    with pytest.raises(UsageError, match=r"no term .* has a weight: set generator.adversarial"):
        train_gan(data, expert(data), settings("dcgan", adversarial=0.0, **none), Stream(0, "g"), CPU, Recorder())


def test_inversion_needs_an_expert_with_batch_norm(digits: Dataset) -> None:
    recorder, plain = Recorder(), Wrapper(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    train_gan(digits.subset(range(40)), plain, settings("dcgan"), Stream(0, "g"), CPU, recorder)
    assert "inversion" not in recorder.metrics[0]


def test_it_reports(digits: Dataset) -> None:
    recorder = Recorder()
    train_gan(digits.subset(range(40)), expert(digits), settings("cdcgan"), Stream(0, "g"), CPU, recorder)
    assert {"step", "adversarial", "entropy", "diversity", "inversion", "discriminator"} == recorder.metrics[0].keys()
    assert [m["step"] for m in recorder.metrics] == [0, 5]


def test_it_learns_what_its_class_looks_like(digits: Dataset) -> None:
    """After some hundred steps, the mean zero is nearer to the generated mean than the mean one is."""
    rows = torch.isin(digits.labels, torch.tensor([0, 1])).nonzero().flatten()
    config = settings("cdcgan", steps=300, width=8, batch_size=32)
    made = train_gan(digits.subset(rows), expert(digits), config, Stream(0, "g"), CPU, Recorder())
    means = [digits.images[digits.labels == c].float().mean(0) / 127.5 - 1 for c in (0, 1)]
    for c in (0, 1):
        drawn = made.sample(torch.full((100,), c), Stream(1, "z").torch()).mean(0)
        assert (drawn - means[c]).square().mean() < (drawn - means[1 - c]).square().mean()
