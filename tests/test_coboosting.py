"""Co-Boosting: hard samples, perturbations and weights by hand, and the whole method on digits."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.coboosting import coboosting, generator_loss, hard_loss, harden, reweigh, weighted_logits
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.inference import accuracy
from mosaic_fl.server.synthesis.ensemble import FrozenExperts
from mosaic_fl.server.synthesis.student import learn
from mosaic_fl.storage.journal import Journal

CPU = torch.device("cpu")
QUICK = {
    **{"train.max_steps": 60, "train.min_steps": 60, "run.workers": 1, "models.student": "cnn:8"},
    **{"synthesis.epochs": 6, "synthesis.generator_steps": 8, "synthesis.batch_size": 64, "synthesis.width": 8},
    **{"synthesis.latent": 16, "synthesis.student_steps": 0, "generator.family": "none"},
}


def run(digits: Dataset, **more: object) -> tuple[Outcome, Journal]:
    sites = [Site(k, digits.subset(range(300 * k, 300 * k + 300)), ("cnn:8", "mlp:32:1")[k]) for k in range(2)]
    config, journal = Config().with_values({**QUICK, **more}), Journal()
    with LocalFederation(sites, config, CPU, journal) as federation:
        return coboosting(federation, config, CPU, journal), journal


def test_the_ensemble_is_the_weighted_mean_of_logits() -> None:
    outputs = torch.tensor([[[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]]])
    assert weighted_logits(outputs, torch.tensor([1.0, 0.5, 0.0]))[0].tolist() == pytest.approx([2 / 3, 1.0])
    assert weighted_logits(outputs, torch.zeros(3)).tolist() == [[0.0, 0.0]]  # nobody: no opinion, and no NaN


def test_easy_samples_count_little() -> None:
    # p_y = ¾ and ¼: (¼·ln(4/3) + ¾·ln 4) / 2.
    teacher = torch.tensor([[0.75, 0.25], [0.75, 0.25]]).log().requires_grad_()
    loss = hard_loss(teacher, torch.tensor([0, 1]))
    assert float(loss.detach()) == pytest.approx((0.25 * math.log(4 / 3) + 0.75 * math.log(4)) / 2)
    (slope,) = torch.autograd.grad(loss, teacher)
    assert slope[0].tolist() == pytest.approx([0.25 * (0.75 - 1) / 2, 0.25 * 0.25 / 2])  # weight · (p − y) / n


def test_the_generator_seeks_every_divergence_and_no_statistics() -> None:
    """p = softmax(6/3, 0) against (½, ½), though both say class 0: 3²·(ln 2 − H(p)); L_H = (1 − σ(6))·−ln σ(6)."""
    experts = FrozenExperts([Always((6.0, 0.0))], CPU)
    settings = SynthesisConfig(adversarial=0.5, statistics=0.0)
    labels, images = torch.tensor([0, 0]), torch.randn(2, 1, 2, 2)
    loss = generator_loss(
        images, images, labels, experts=experts, weights=torch.ones(1), student=Always((0.0, 0.0)), settings=settings
    )
    p, q = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-6))
    apart = 9 * (math.log(2) + p * math.log(p) + (1 - p) * math.log(1 - p))
    assert float(loss) == pytest.approx(-(1 - q) * math.log(q) - 0.5 * apart, abs=1e-5)


class Always(Classifier):
    """The same logits for every image."""

    def __init__(self, logits: tuple[float, float]) -> None:
        super().__init__()
        self.says = torch.tensor([logits])

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.says.expand(len(images), -1)


def test_every_pixel_moves_by_the_length_up_the_direction() -> None:
    mix = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

    def experts(images: Tensor) -> Tensor:
        return (images.flatten(1) @ mix)[:, None]

    images, weights = torch.zeros(5, 1, 2, 2), torch.ones(1)
    moved = harden(images, experts, weights, 8 / 255, torch.Generator().manual_seed(1))
    assert torch.allclose((moved - images).abs(), torch.full_like(images, 16 / 255))  # of −1..1, which is 2 long
    direction = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    gain = (direction * ((experts(moved) / 4).softmax(2) - (experts(images) / 4).softmax(2))[:, 0]).sum(1)
    assert (gain > 0).all()
    again = harden(images, experts, weights, 8 / 255, torch.Generator().manual_seed(2))
    assert not torch.equal(moved, again)


def test_images_are_perturbed_along_tempered_probabilities() -> None:
    """Logits (8a + x, 4b, 0): ∂uᵀp/∂x = p₀/4·(u₀ − uᵀp), p = softmax(2, 1, 0), whatever the sign of u₀ itself."""
    p = torch.tensor([2.0, 1.0, 0.0]).softmax(0)

    def experts(images: Tensor) -> Tensor:
        x = images.flatten(1)
        return torch.cat([8 + x, 4 + 0 * x, 0 * x], 1)[:, None]

    images = torch.zeros(200, 1, 1, 1)
    moved = harden(images, experts, torch.ones(1), 8 / 255, torch.Generator().manual_seed(0))
    u = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(moved.flatten().sign(), (u[:, 0] - u @ p).sign())


def test_perturbed_images_stay_images() -> None:
    images = torch.ones(3, 1, 2, 2)
    moved = harden(images, lambda x: x.flatten(1)[:, None], torch.ones(1), 0.5, torch.Generator().manual_seed(0))
    assert moved.max() <= 1
    assert moved.min() == 0  # 0.5 of 0..1 below the top
    still = harden(images / 2, lambda x: x.flatten(1)[:, None], torch.ones(1), 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(still, images / 2)


def test_weights_move_by_the_sign_of_their_slope_and_stay_in_the_unit_interval() -> None:
    # Margins 3, −1 and 0.4 for the label, 0.8 for their mean: only client 0 is better than the ensemble.
    outputs = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [0.4, 0.0]]])
    labels = torch.tensor([0])
    moved = reweigh(torch.tensor([0.5, 0.5, 0.5]), outputs, labels, 0.01)
    assert moved.tolist() == pytest.approx([0.51, 0.49, 0.49])
    assert reweigh(torch.tensor([0.995, 0.005, 0.0]), outputs, labels, 0.01).tolist() == [1.0, 0.0, 0.0]


def test_epoch_e_moves_the_weights_e_times_on_images_as_they_are(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, seen = [], []

    def spy(weights: Tensor, outputs: Tensor, labels: Tensor, step: float) -> Tensor:
        steps.append(step)
        seen.append(outputs[outputs.sum((1, 2)).argsort()])
        return reweigh(weights, outputs, labels, step)

    monkeypatch.setattr("mosaic_fl.methods.coboosting.reweigh", spy)
    short = {"train.max_steps": 60, "train.min_steps": 60, "synthesis.epochs": 4, "synthesis.student_steps": 1}
    _, journal = run(digits, **short, **{"synthesis.weight_step": 0.04, "synthesis.weight_decay": 0.5})
    assert steps == [0.02, 0.01, 0.01, 0.005, 0.005, 0.005]
    later = torch.cat(seen[1:3])
    assert all((outputs == later).all((1, 2)).any() for outputs in seen[0])  # epoch 0's images, with the same logits
    path = torch.tensor([[0.5, 0.5], *([m["weight_0"], m["weight_1"]] for m in journal.done["coboosting"].metrics)])
    assert torch.equal(path[0], path[1])
    assert torch.allclose(path.diff(dim=0)[1].abs(), torch.tensor([0.02, 0.02]), atol=1e-6)
    assert torch.allclose(torch.tensor(journal.done["coboosting"].info["weights"]), path[-1])


def test_the_students_rate_falls_by_a_cosine_and_its_gradients_are_clipped(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []

    def spy(student: Classifier, optimiser: torch.optim.Optimizer, *given: Any) -> float:
        (group,) = optimiser.param_groups
        rates.append(group["lr"])
        assert group["weight_decay"] == 1e-4
        assert given[-1] == 10.0
        return learn(student, optimiser, *given)

    monkeypatch.setattr("mosaic_fl.methods.coboosting.learn", spy)
    short = {"train.max_steps": 5, "train.min_steps": 5, "synthesis.epochs": 4, "synthesis.statistics": 0.0}
    run(digits, **short, **{"synthesis.student_lr": 0.1})
    cosine = [0.05 * (1 + math.cos(math.pi * e / 4)) for e in range(4)]
    assert rates == pytest.approx([rate for e, rate in enumerate(cosine) for _ in range(e + 1)])


def test_the_student_learns_digits_from_the_clients_models_alone(digits: Dataset) -> None:
    outcome, journal = run(digits, **{"synthesis.student_steps": 30, "synthesis.student_lr": 0.05})
    rest = digits.subset(range(1000, 1797))
    assert outcome.model is not None
    assert accuracy(outcome.model.logits(rest.images), rest.labels) > 0.4  # chance is 0.1
    assert journal.done["coboosting"].info["pool"] == 6 * 64
    assert outcome.bytes_down == [len(outcome.model.to_bytes())] * 2


def test_the_same_seed_gives_the_same_model(digits: Dataset) -> None:
    short = {"synthesis.epochs": 2, "train.max_steps": 10, "train.min_steps": 10}
    weights = [run(digits, **short, **{"run.seed": s})[0].model for s in (0, 0, 1)]
    first, second, other = (model.state["head.weight"] for model in weights if model)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_card_holds_the_published_settings() -> None:
    config = Config().with_values(dict(METHODS["coboosting"].defaults)).synthesis
    assert (config.weight_step, config.weight_decay, config.perturbation) == (0.01, 0.99, 8 / 255)
    assert (config.epochs, config.generator_steps, config.student_steps) == (200, 30, 0)
    assert (config.batch_size, config.student_lr, config.temperature, config.statistics) == (128, 0.01, 4.0, 0.0)
    assert config.latent == 256
