"""Co-Boosting: hard samples, perturbations and weights by hand, and the whole method on digits."""

import math

import pytest
import torch
from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.data.dataset import ImageData
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.journal import Journal
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.coboosting import coboosting, hard_loss, harden, reweigh, weighted_logits
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.models.inference import accuracy

CPU = torch.device("cpu")
QUICK = {
    **{"train.max_steps": 60, "train.min_steps": 60, "run.workers": 1, "models.student": "cnn:8"},
    **{"synthesis.epochs": 6, "synthesis.generator_steps": 8, "synthesis.batch_size": 64, "synthesis.width": 8},
    **{"synthesis.latent": 16, "synthesis.student_steps": 0, "generator.family": "none"},
}


def run(digits: ImageData, **more: object) -> tuple[Outcome, Journal]:
    sites = [Site(k, digits.subset(range(300 * k, 300 * k + 300)), ("cnn:8", "mlp:32:1")[k]) for k in range(2)]
    config, journal = Config().with_values({**QUICK, **more}), Journal()
    with LocalFederation(sites, config, CPU, journal) as federation:
        return coboosting(federation, config, CPU, journal), journal


def test_the_ensemble_is_the_weighted_sum_of_logits() -> None:
    outputs = torch.tensor([[[1.0, 0.0], [0.0, 4.0], [2.0, 2.0]]])
    assert weighted_logits(outputs, torch.tensor([1.0, 0.5, 0.0])).tolist() == [[1.0, 2.0]]


def test_easy_samples_count_little() -> None:
    # p_y = ¾ and ¼: (¼·ln(4/3) + ¾·ln 4) / 2.
    teacher = torch.tensor([[0.75, 0.25], [0.75, 0.25]]).log().requires_grad_()
    loss = hard_loss(teacher, torch.tensor([0, 1]))
    assert float(loss.detach()) == pytest.approx((0.25 * math.log(4 / 3) + 0.75 * math.log(4)) / 2)
    (slope,) = torch.autograd.grad(loss, teacher)
    assert slope[0].tolist() == pytest.approx([0.25 * (0.75 - 1) / 2, 0.25 * 0.25 / 2])  # weight · (p − y) / n


def test_every_pixel_moves_by_the_length_up_the_direction() -> None:
    mix = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

    def experts(images: Tensor) -> Tensor:
        return (images.flatten(1) @ mix)[:, None]

    images, weights = torch.zeros(5, 1, 2, 2), torch.ones(1)
    moved = harden(images, experts, weights, 8 / 255, torch.Generator().manual_seed(1))
    assert torch.allclose((moved - images).abs(), torch.full_like(images, 16 / 255))  # of −1..1, which is 2 long
    direction = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    gain = (direction * (experts(moved) - experts(images))[:, 0]).sum(1)
    assert (gain > 0).all()
    again = harden(images, experts, weights, 8 / 255, torch.Generator().manual_seed(2))
    assert not torch.equal(moved, again)


def test_perturbed_images_stay_images() -> None:
    images = torch.ones(3, 1, 2, 2)
    moved = harden(images, lambda x: x.flatten(1)[:, None], torch.ones(1), 0.5, torch.Generator().manual_seed(0))
    assert moved.max() <= 1
    assert moved.min() == 0  # 0.5 of 0..1 below the top
    still = harden(images / 2, lambda x: x.flatten(1)[:, None], torch.ones(1), 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(still, images / 2)


def test_weights_move_by_the_sign_of_their_slope_and_stay_in_the_unit_interval() -> None:
    # Client 0 is right, client 1 wrong, client 2 indifferent.
    outputs = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]]])
    labels = torch.tensor([0])
    moved = reweigh(torch.tensor([0.5, 0.5, 0.5]), outputs, labels, 0.01)
    assert moved.tolist() == pytest.approx([0.51, 0.49, 0.5])
    assert reweigh(torch.tensor([0.995, 0.005, 0.0]), outputs, labels, 0.01).tolist() == [1.0, 0.0, 0.0]


def test_the_step_of_the_weights_decays_every_epoch(digits: ImageData) -> None:
    short = {"train.max_steps": 60, "train.min_steps": 60, "synthesis.epochs": 3, "synthesis.student_steps": 1}
    _, journal = run(digits, **short, **{"synthesis.weight_step": 0.04, "synthesis.weight_decay": 0.5})
    path = torch.tensor([[0.5, 0.5], *([m["weight_0"], m["weight_1"]] for m in journal.done["coboosting"].metrics)])
    expected = torch.tensor([[0.04], [0.02], [0.01]]).expand(3, 2)
    assert torch.allclose(path.diff(dim=0).abs(), expected, atol=1e-6)
    assert torch.allclose(torch.tensor(journal.done["coboosting"].info["weights"]), path[-1])


def test_the_student_learns_digits_from_the_clients_models_alone(digits: ImageData) -> None:
    outcome, journal = run(digits, **{"synthesis.student_steps": 30, "synthesis.student_lr": 0.05})
    rest = digits.subset(range(1000, 1797))
    assert outcome.model is not None
    assert accuracy(outcome.model.logits(rest.images), rest.labels) > 0.4  # chance is 0.1
    assert journal.done["coboosting"].info["pool"] == 6 * 64
    assert outcome.bytes_down == [len(outcome.model.to_bytes())] * 2


def test_the_same_seed_gives_the_same_model(digits: ImageData) -> None:
    short = {"synthesis.epochs": 2, "train.max_steps": 10, "train.min_steps": 10}
    weights = [run(digits, **short, **{"run.seed": s})[0].model for s in (0, 0, 1)]
    first, second, other = (model.state["head.weight"] for model in weights if model)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_card_holds_the_published_settings() -> None:
    config = Config().with_values(dict(METHODS["coboosting"].defaults)).synthesis
    assert (config.weight_step, config.weight_decay, config.perturbation) == (0.01, 0.99, 8 / 255)
    assert (config.epochs, config.generator_steps, config.student_steps) == (200, 30, 0)
