"""DENSE: its generator's loss by hand, its pool, and the whole method on digits."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image import Image
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.generators.base import central
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.dense import dense, generator_loss
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models import build
from mosaic_fl.models.inference import accuracy
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.synthesis.ensemble import FrozenExperts, frozen
from mosaic_fl.server.synthesis.generator import draw, fit_batch
from mosaic_fl.server.synthesis.losses import disagree, fools, masked_divergence
from mosaic_fl.server.synthesis.pool import SyntheticPool, recall
from mosaic_fl.server.synthesis.upsampling import UpsamplingGenerator
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
QUICK = {
    **{"train.max_steps": 60, "train.min_steps": 60, "run.workers": 1, "models.student": "cnn:8"},
    **{"synthesis.epochs": 6, "synthesis.generator_steps": 8, "synthesis.batch_size": 64, "synthesis.width": 8},
    **{"synthesis.latent": 16, "synthesis.student_steps": 0, "generator.family": "none"},
}


class Says(nn.Module):
    """A classifier that gives the same logits whatever it sees, with a gradient of 0 to the images."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits + 0 * images.flatten(1).sum(1, keepdim=True)


def run(digits: Dataset, folder: Path | None = None, **more: object) -> tuple[Outcome, Journal]:
    sites = [Site(k, digits.subset(range(300 * k, 300 * k + 300)), ("cnn:8", "mlp:32:1")[k]) for k in range(2)]
    config = Config().with_values({**QUICK, **more})
    journal = Journal(folder)
    with LocalFederation(sites, config, CPU, journal) as federation:
        return dense(federation, config, CPU, journal), journal


def test_images_are_pushed_apart_only_where_teacher_and_student_disagree() -> None:
    teacher = torch.tensor([[2.0, 0.0], [0.0, 0.0]]).log_softmax(1)
    student = torch.tensor([[0.5, 0.0], [-1.0, 0.0]]).log_softmax(1)  # the same class, then another one
    student[1], teacher[1] = torch.tensor([0.25, 0.75]).log(), torch.tensor([0.5, 0.5]).log()
    assert disagree(teacher, student).tolist() == [False, True]
    apart = masked_divergence(teacher, student, disagree(teacher, student))
    # ½ ln(½/¼) + ½ ln(½/¾) = ½ ln(4/3)
    assert apart.tolist() == pytest.approx([0.0, 0.5 * torch.tensor(4 / 3).log().item()])


def test_a_sample_fools_the_student_only_where_the_teacher_is_right() -> None:
    teacher, student = torch.eye(2)[[0, 0, 1]], torch.eye(2)[[0, 1, 0]]
    assert fools(teacher, student, torch.tensor([0, 0, 0])).tolist() == [False, True, False]


class Strange(FrozenExperts):
    """To these clients every image is as strange."""

    def statistics_loss(self) -> Tensor:
        return torch.tensor(0.1)


def test_the_generators_loss_by_hand() -> None:
    # Mean logits (1, 0) of the clients' (4, 0) and (−2, 0); the student says (0, 1); L_BN is 0.1.
    experts = Strange([Says(4.0, 0.0), Says(-2.0, 0.0)], CPU)  # type: ignore[list-item]
    student, images, z = Says(0.0, 1.0), torch.zeros(3, 1, 2, 2), torch.zeros(3, 1)
    settings = SynthesisConfig(label=2.0, statistics=3.0, adversarial=0.5)
    told = {"experts": experts, "settings": settings}
    p, q = torch.tensor([1.0, 0.0]).log_softmax(0), torch.tensor([0.0, 1.0]).log_softmax(0)
    labels = torch.tensor([0, 0, 1])
    found, apart = -(2 * p[0] + p[1]) / 3, (p.exp() * (p - q)).sum()
    loss = generator_loss(images, z, labels, student=student, **told)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx(float(2 * found + 0.3 - 0.5 * apart), abs=1e-6)
    agreeing = Says(0.5, 0.0)  # another distribution, but the same class: nothing is pushed apart
    loss = generator_loss(images, z, labels, student=agreeing, **told)  # type: ignore[arg-type]
    assert float(loss) == pytest.approx(float(2 * found + 0.3), abs=1e-6)


def test_the_statistics_are_those_of_all_clients_together(digits: Dataset) -> None:
    models = [build("cnn:4:1", digits.schema), build("mlp:4:1", digits.schema)]
    images = torch.rand(5, 1, 8, 8)
    alone = []
    for model in models:
        with FrozenExperts([model], CPU) as one:
            one(images)
            alone.append(float(one.statistics_loss()))
    with FrozenExperts(models, CPU) as both:
        assert both(images).shape == (5, 2, 10)
        assert float(both.statistics_loss()) == pytest.approx(sum(alone))
        assert min(alone) > 0


def test_statistics_are_norms_summed_over_layers_and_clients() -> None:
    clients = [nn.BatchNorm2d(2) for _ in range(2)]  # they remember a mean of (0, 0), a variance of (1, 1)
    images = torch.tensor([[2.0, 6.0], [4.0, 2.0]])[:, :, None, None]  # means (3, 4), variances (1, 4)
    experts = FrozenExperts(clients, CPU)  # type: ignore[arg-type]
    with experts:
        assert float(experts.statistics_loss()) == 0
        for _ in range(2):  # the latest pass counts, alone
            experts(images)
        assert float(experts.statistics_loss()) == pytest.approx(2 * (5 + 3))  # ‖(3, 4)‖ + ‖(0, 3)‖, of each client
    experts(10 * images)
    assert float(experts.statistics_loss()) == 0  # the block is over


def test_a_held_model_is_given_back_as_it_was(schema: Schema) -> None:
    model = build("cnn:4:1", schema)
    with frozen(model):
        assert not model.training
        assert not any(p.requires_grad for p in model.parameters())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_labels_come_only_from_the_classes_that_have_a_share() -> None:
    shares, rng = torch.tensor([False, True, True]), torch.Generator().manual_seed(0)
    _, labels = draw(SynthesisConfig(batch_size=200, latent=3), shares, rng, CPU)
    assert labels.unique().tolist() == [1, 2]


def test_a_generator_learns_images_that_the_ensemble_knows(digits: Dataset) -> None:
    settings = SynthesisConfig(generator_steps=60, width=8, latent=16, lr=5e-3, batch_size=20)
    experts = FrozenExperts([build("mlp:16:1", digits.schema)], CPU)
    batch = draw(settings, torch.ones(10), torch.Generator().manual_seed(0), CPU)

    def loss(images: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(experts(images)[:, 0], labels)

    images, last = fit_batch(digits.schema, settings, Stream(0, "g"), batch, loss)
    assert last < 0.7 * float(loss(torch.zeros_like(images), *batch))  # it begins all grey, but for a little noise
    assert accuracy(experts(images)[:, 0], batch[1]) > 0.5


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (1, 28, 28), (1, 1, 1)])
def test_a_batch_generator_makes_images_of_any_size(shape: tuple[int, int, int]) -> None:
    generator = UpsamplingGenerator(3, 2, image_schema(shape, ("a", "b")))
    images = generator(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64))
    assert images.shape == (4, *shape)
    assert float(images.detach().abs().max()) < 1


def test_the_middle_is_cut_out() -> None:
    images = torch.arange(20.0).view(1, 1, 4, 5)
    assert central(images, 2, 3).tolist() == [[[[6.0, 7.0, 8.0], [11.0, 12.0, 13.0]]]]
    assert torch.equal(central(images, 4, 5), images)


def test_a_batch_generators_weights_by_hand(schema: Schema) -> None:
    """8×8: 3·16 + 16 enter 4 maps of 2×2; 4·4·9, 4·2·9 and 2·9 + 1 of convolutions; 2·(4 + 4 + 2) of batch norm."""
    generator = UpsamplingGenerator(3, 2, schema)
    assert sum(p.numel() for p in generator.parameters()) == 64 + 144 + 72 + 19 + 20


def test_the_pool_keeps_every_image_and_shows_each_before_any_comes_again() -> None:
    kind = Image((1, 2, 2))
    pool, rng = SyntheticPool(kind), torch.Generator().manual_seed(0)
    parts = [torch.rand(n, 1, 2, 2) * 2 - 1 for n in (3, 5, 4)]
    for i, images in enumerate(parts):
        pool.add(images, torch.full((len(images),), i))
    assert len(pool) == 12
    assert torch.equal(pool.values, kind.to_rest(torch.cat(parts)))
    assert pool.labels.tolist() == [0] * 3 + [1] * 5 + [2] * 4
    assert torch.allclose(pool.at(torch.tensor([4]), CPU), torch.cat(parts)[[4]], atol=1 / 255)
    once = torch.cat(pool.batches(4, 0, rng))  # 0: one pass
    assert sorted(once.tolist()) == list(range(12))
    assert [len(b) for b in pool.batches(4, 7, rng)] == [4] * 7


def test_recall_by_class() -> None:
    outputs = torch.eye(3)[[0, 1, 0, 1]]
    assert recall(outputs, torch.tensor([0, 0, 0, 1])) == pytest.approx([2 / 3, 1.0, 0.0])


def test_the_student_learns_digits_from_the_clients_models_alone(digits: Dataset) -> None:
    more = {"synthesis.student_steps": 30, "synthesis.student_lr": 0.05, "synthesis.generator_steps": 30}
    outcome, journal = run(digits, **more)
    rest = digits.subset(range(1000, 1797))
    assert outcome.model is not None
    assert accuracy(outcome.model.logits(rest.images), rest.labels) > 0.4  # chance is 0.1
    stage = journal.done["dense"]
    assert stage.info["pool"] == 6 * 64
    assert len(stage.metrics) == 6
    assert sum(stage.info["recall"]) / 10 > 0.5  # the ensemble recognises what was made for it
    assert outcome.bytes_down == [len(outcome.model.to_bytes())] * 2


def test_the_same_seed_gives_the_same_model_and_a_finished_one_is_not_made_again(
    digits: Dataset, tmp_path: Path
) -> None:
    short = {"synthesis.epochs": 2, "train.max_steps": 10, "train.min_steps": 10}
    first, _ = run(digits, **short)
    second, _ = run(digits, tmp_path, **short)
    kept, journal = run(digits, tmp_path, **short)
    other, _ = run(digits, **short, **{"run.seed": 1})
    weights = [o.model.state["head.weight"] for o in (first, second, kept, other) if o.model]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[3])
    assert journal.done["dense"].seconds > 0


def test_a_generator_that_a_client_trained_is_not_sent(digits: Dataset) -> None:
    short = {"synthesis.epochs": 1, "train.max_steps": 5, "train.min_steps": 5, "generator.steps": 2}
    with_generator, _ = run(digits, **short, **{"generator.family": "dcgan"})
    without, _ = run(digits, **short)
    assert [abs(a - b) < 100 for a, b in zip(with_generator.bytes_up, without.bytes_up, strict=True)] == [True, True]


def test_the_card_holds_the_published_settings() -> None:
    config = Config().with_values(dict(METHODS["dense"].defaults)).synthesis
    assert (config.epochs, config.generator_steps, config.student_steps, config.lr) == (200, 30, 0, 1e-3)
    assert (config.label, config.statistics, config.adversarial, config.temperature) == (1.0, 1.0, 1.0, 20.0)
    assert (config.batch_size, config.latent, config.student_lr) == (256, 256, 0.005)
    assert not METHODS["dense"].equal_architectures
