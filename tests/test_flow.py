import math

import pytest
import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.generators import GeneratorSpec, build
from mosaic_fl.generators.flow import SAMPLING_STEPS, FlowGenerator, flow_loss, flow_spec, sinusoids, train_flow
from mosaic_fl.models.loading import load_into
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.monitor import Recorder

NOBODY = torch.nn.Identity()  # a classifier that is not asked
CPU = torch.device("cpu")
CLASSES = ("a", "b", "c")
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 17, 30), (1, 5, 5)]
Shape = tuple[int, int, int]


def settings(**more: float) -> GeneratorConfig:
    return GeneratorConfig.model_validate({"steps": 6, "width": 4, "lr": 2e-3, "batch_size": 16, **more})


def flow(shape: Shape, width: int = 4, seed: int = 0) -> FlowGenerator:
    """A flow whose last layer is not silent, as it is before any training."""
    schema = image_schema(shape, CLASSES)
    with Stream(seed, "flow").ambient():
        generator = FlowGenerator(flow_spec(schema, width), schema)
        for parameter in generator.parameters():
            nn.init.normal_(parameter, 0, 0.2)
    return generator.eval()


def noise(shape: Shape, n: int) -> Tensor:
    return torch.randn(n, math.prod(shape), generator=Stream(0, "z").torch())


def weights(data: Dataset, config: GeneratorConfig, seed: int = 0) -> Tensor:
    made = train_flow(data, NOBODY, config, Stream(seed, "g"), CPU, Recorder())
    return torch.cat([p.flatten() for p in made.parameters()])


class Law(nn.Module):
    """A velocity known in closed form, for the network; remembers the times it was asked about."""

    def __init__(self, constant: Tensor | float, slope: float = 0.0) -> None:
        super().__init__()
        self.constant, self.slope, self.times = constant, slope, list[float]()

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.times.append(float(t[0]))
        return self.constant + self.slope * t[:, None, None, None] + torch.zeros_like(x)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_range(shape: Shape) -> None:
    labels = torch.tensor([0, 1, 2, 0])
    generator = flow(shape)
    images = generator(noise(shape, 4), labels)
    assert generator.conditional
    assert images.shape == (4, *shape)
    assert images.abs().max() <= 1
    assert generator.sample(labels[:1], Stream(0, "z").torch()).shape == (1, *shape)
    assert len(generator.sample(labels[:0], Stream(0, "z").torch())) == 0


def test_labels_are_heeded() -> None:
    generator, z = flow((1, 8, 8)), noise((1, 8, 8), 2)
    assert not torch.equal(generator(z, torch.tensor([0, 0])), generator(z, torch.tensor([1, 1])))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 17, 30)])
def test_a_sample_does_not_depend_on_its_batch(shape: Shape) -> None:
    generator, z, labels = flow(shape).train(), noise(shape, 5), torch.tensor([0, 1, 0, 1, 2])
    torch.testing.assert_close(generator(z, labels)[:1], generator(z[:1], labels[:1]), rtol=1e-4, atol=1e-5)


def test_a_batch_is_integrated_in_parts() -> None:
    """Five samples by twos: the noise of each part is drawn after that of the part before."""
    generator, labels, rng = flow((1, 8, 8)), torch.arange(5) % 3, Stream(0, "z").torch()
    drawn = [generator(torch.randn(len(part), 64, generator=rng), part) for part in labels.split(2)]
    torch.testing.assert_close(generator.sample(labels, Stream(0, "z").torch(), batch=2), torch.cat(drawn))


def test_a_constant_velocity_is_added_to_the_noise() -> None:
    """x_1 = z + v: −0.5 + 0.75 = 0.25, −0.5 − 0.25 = −0.75, and 0.5 + 0.75 is clamped to 1."""
    generator = flow((1, 1, 2))
    generator.velocity = Law(torch.tensor([0.75, -0.25]))
    images = generator(torch.tensor([[-0.5, -0.5], [0.5, 0.5]]), torch.tensor([0, 1]))
    torch.testing.assert_close(images.view(2, 2), torch.tensor([[0.25, -0.75], [1.0, 0.25]]))


def test_the_midpoint_method_is_exact_for_a_velocity_linear_in_time() -> None:
    """The integral of 2t over 0..1 is 1, where Euler's steps would give (S − 1) / S; and t = 1 is never asked for."""
    generator, law = flow((1, 1, 1)), Law(0.0, slope=2.0)
    generator.velocity = law
    torch.testing.assert_close(generator(torch.tensor([[-0.75]]), torch.tensor([0])).flatten(), torch.tensor([0.25]))
    assert law.times[0] == 0
    assert max(law.times) == pytest.approx(1 - 0.5 / SAMPLING_STEPS)
    assert len(law.times) == 2 * SAMPLING_STEPS


def test_the_loss_is_zero_for_the_velocity_of_the_path() -> None:
    """data 1 and noise −0.5: the velocity is 1.5 anywhere on the path; a velocity of 1 is off by 0.5² = 0.25."""
    data, start = torch.ones(2, 1, 3, 3), torch.full((2, 1, 3, 3), -0.5)
    t, labels = torch.tensor([0.1, 0.9]), torch.tensor([0, 1])
    assert flow_loss(Law(1.5), data, start, t, labels).item() == 0
    assert flow_loss(Law(1.0), data, start, t, labels).item() == pytest.approx(0.25)


def test_the_network_sees_the_path_between_noise_and_data() -> None:
    """(1 − t)·noise + t·data at t = 0.25, noise −0.5 and data 1: −0.125."""
    seen = list[Tensor]()

    class Eye(nn.Module):
        def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            seen.append(x)
            return x

    flow_loss(Eye(), torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), -0.5), torch.tensor([0.25]), torch.tensor([0]))
    assert seen[0].item() == -0.125


def test_the_embedding_of_time_starts_at_cosine_one_and_sine_zero() -> None:
    torch.testing.assert_close(sinusoids(torch.zeros(1), 2), torch.tensor([[1.0, 1.0, 0.0, 0.0]]))
    angles = torch.tensor([500.0, 5.0])  # 1000 · 0.5 at frequencies 1 and 10000^(−1/2)
    expected = torch.cat([angles.cos(), angles.sin()])[None]
    torch.testing.assert_close(sinusoids(torch.tensor([0.5]), 2), expected, rtol=0, atol=1e-4)


def test_gradients_reach_the_noise_where_they_are_on() -> None:
    z = noise((1, 8, 8), 2).requires_grad_()
    flow((1, 8, 8))(z, torch.tensor([0, 1])).sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()


def test_the_size_promised_for_cifar() -> None:
    generator = flow((3, 32, 32), width=32)
    assert sum(p.numel() for p in generator.parameters()) < 2_000_000


def test_a_latent_of_another_size_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"192 for 3×8×8, not 16"):
        build(GeneratorSpec("flow", 16, 4), image_schema((3, 8, 8), CLASSES))


def test_images_too_large_are_an_error_with_a_way_out() -> None:
    assert flow_spec(image_schema((3, 64, 64), CLASSES), 4).latent == 12288
    with pytest.raises(UsageError, match=r"150528 \(3×224×224\): set data.image_size = 64"):
        flow_spec(image_schema((3, 224, 224), CLASSES), 4)
    with pytest.raises(UsageError, match=r"must lie in 1..1024"):
        GeneratorSpec("cvae", 12288, 4)


def test_its_weights_travel() -> None:
    generator, z, labels = flow((3, 17, 30)), noise((3, 17, 30), 2), torch.tensor([0, 2])
    spec = GeneratorSpec.from_json(generator.spec.to_json())
    rebuilt = load_into(lambda: build(spec, image_schema((3, 17, 30), CLASSES)), generator.state_dict(), "test")
    assert torch.equal(rebuilt(z, labels), generator(z, labels))


def test_the_same_stream_gives_the_same_generator(digits: Dataset) -> None:
    data = digits.subset(range(40))
    assert torch.equal(weights(data, settings()), weights(data, settings()))
    assert not torch.equal(weights(data, settings()), weights(data, settings(), seed=1))


@pytest.mark.parametrize("samples", [1, 2, 17, 20])
def test_few_samples_of_one_class_or_constant_images(digits: Dataset, samples: int) -> None:
    """17 samples and batches of 16: a batch of one would be left over."""
    rows = (digits.labels == 4).nonzero().flatten()[:samples]
    for data in (digits.subset(rows), image_dataset(digits.images[rows] * 0, digits.labels[rows], digits.schema)):
        assert weights(data, settings()).isfinite().all()


def test_it_reports_and_comes_back_ready(digits: Dataset) -> None:
    recorder, heard = Recorder(), list[tuple[int, int]]()
    recorder.listen = lambda stage, client, done, total: heard.append((done, total))
    made = train_flow(digits.subset(range(40)), NOBODY, settings(), Stream(0, "g"), CPU, recorder)
    assert [m["step"] for m in recorder.metrics] == [0, 5]
    assert recorder.metrics[0].keys() == {"step", "generator_loss"}
    assert heard[-1] == (6, 6)
    assert not made.training
    assert made.spec == GeneratorSpec("flow", 64, 4)


def test_a_loss_that_is_not_finite_is_an_error(digits: Dataset) -> None:
    with pytest.raises(MosaicError, match="lower generator.lr"):
        train_flow(digits.subset(range(40)), NOBODY, settings(lr=1e38), Stream(0, "g"), CPU, Recorder())


def test_training_leaves_the_ambient_generator_alone(digits: Dataset) -> None:
    before = torch.get_rng_state()
    weights(digits.subset(range(20)), settings())
    assert torch.equal(torch.get_rng_state(), before)


def test_it_learns_a_constant_for_each_class(schema: Schema) -> None:
    """Class a is −0.5 everywhere and class b 0.5; samples lie within 0.15 of them on average."""
    labels = torch.arange(64) % 2
    pixels = torch.where(labels == 0, 64, 191).to(torch.uint8)  # 64 / 127.5 − 1 = −0.498, 191 / 127.5 − 1 = 0.498
    data = image_dataset(pixels[:, None, None, None].expand(64, *schema.shape).contiguous(), labels, schema)
    config = settings(steps=200, width=8, batch_size=32, lr=4e-3)
    made = train_flow(data, NOBODY, config, Stream(0, "g"), CPU, Recorder())
    for label, value in ((0, -0.498), (1, 0.498)):
        drawn = made.sample(torch.full((20,), label), Stream(1, "z").torch())
        assert (drawn - value).abs().mean() < 0.15
