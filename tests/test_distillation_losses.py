"""Distillation terms against numbers worked out by hand."""

import math

import pytest
import torch

from mosaic_fl.config import DistillConfig
from mosaic_fl.server.divergences import jensen_shannon, kl_divergence
from mosaic_fl.server.student import Lesson, distillation_loss

P = torch.tensor([[0.5, 0.5]]).log()
Q = torch.tensor([[0.75, 0.25]]).log()
LN2 = math.log(2)


def test_kl_by_hand() -> None:
    # ½ ln(0.5/0.75) + ½ ln(0.5/0.25) = ½ ln(4/3)
    assert kl_divergence(P, Q).item() == pytest.approx(0.5 * math.log(4 / 3), abs=1e-6)
    assert kl_divergence(P, P).item() == pytest.approx(0, abs=1e-7)


def test_temperature_scales_by_its_square() -> None:
    # At T = 2, q ∝ (√0.75, √0.25): q = (√3, 1)/(√3 + 1); KL(½ ‖ q) = −½ ln(4·q1·q2).
    q1 = math.sqrt(3) / (math.sqrt(3) + 1)
    assert kl_divergence(P, Q, 2.0).item() == pytest.approx(4 * -0.5 * math.log(4 * q1 * (1 - q1)), abs=1e-6)


def test_jsd_by_hand_symmetric_and_at_most_ln_2() -> None:
    # m = (0.625, 0.375)
    by_hand = 0.5 * (0.5 * math.log(0.5 / 0.625) + 0.5 * math.log(0.5 / 0.375))
    by_hand += 0.5 * (0.75 * math.log(0.75 / 0.625) + 0.25 * math.log(0.25 / 0.375))
    assert jensen_shannon(P, Q).item() == pytest.approx(by_hand, abs=1e-6)
    assert jensen_shannon(P, Q).item() == pytest.approx(jensen_shannon(Q, P).item(), abs=1e-7)
    apart = jensen_shannon(torch.tensor([[100.0, -100.0]]), torch.tensor([[-100.0, 100.0]])).item()
    assert apart == pytest.approx(LN2, abs=1e-5)
    rng = torch.Generator().manual_seed(0)
    wild = [torch.randn(200, 7, generator=rng) * 30 for _ in range(2)]
    each = jensen_shannon(*wild)
    assert each.shape == (200,)
    assert each.min().item() >= 0
    assert each.max().item() <= LN2 + 1e-6


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"kl": 2.0, "label": 0.0}, 2 * 0.5 * math.log(4 / 3)),
        ({"kl": 0.0, "label": 1.0}, -math.log(0.25)),  # the generator says class 1
        (
            {"kl": 0.0, "label": 0.0, "teacher_label": 3.0},
            -3 * math.log(0.75),
        ),  # argmax of the teacher: class 0
    ],
)
def test_the_loss_is_the_weighted_sum(weights: dict[str, float], expected: float) -> None:
    teacher = P if "teacher_label" not in weights else torch.tensor([[0.9, 0.1]]).log()
    lesson = Lesson(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([1]), teacher)
    assert distillation_loss(Q, lesson, DistillConfig(**weights)).item() == pytest.approx(expected, abs=1e-6)


def test_jsd_has_its_weight() -> None:
    lesson = Lesson(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([1]), P)
    alone = distillation_loss(Q, lesson, DistillConfig(kl=0, label=0, jsd=2.0)).item()
    assert alone == pytest.approx(2 * jensen_shannon(P, Q).item())


def test_a_sample_without_a_label_is_taught_by_the_teacher_with_the_whole_weight() -> None:
    images, both = torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.cat([P, P])
    config, kl = DistillConfig(kl=0.5, label=0.25), 0.5 * math.log(4 / 3)
    mixed = Lesson(images, torch.tensor([1, -1]), both)
    expected = ((0.5 * kl - 0.25 * math.log(0.25)) + 0.75 * kl) / 2
    assert distillation_loss(torch.cat([Q, Q]), mixed, config).item() == pytest.approx(expected, abs=1e-6)
    bare = Lesson(images, torch.tensor([-1, -1]), both)
    labels_alone = DistillConfig(kl=0, label=1)
    assert distillation_loss(torch.cat([Q, Q]), bare, labels_alone).item() == pytest.approx(kl, abs=1e-6)
