"""What local training minimises, by hand."""

import math

import pytest
import torch
from torch import Tensor

from mosaic_fl.client.choice import pick_family
from mosaic_fl.config import Config, GeneratorConfig, TrainConfig
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.experts.objective import Objective
from mosaic_fl.models.classifier import Classifier

LOGITS = torch.tensor([[0.0, math.log(2), math.log(4)]])
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Constant(Classifier):
    """Gives its three weights as logits of every image."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(LOGITS[0].clone())

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.weights.expand(len(images), 3)


def settings(**changes: float) -> TrainConfig:
    return Config().with_values({f"train.{key}": value for key, value in changes.items()}).train


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        (1.0, math.log(7 / 2)),  # softmax of 1, 2, 4 at class 1
        (0.5, math.log(5 / 2)),  # class 2 is absent: its logit ln 4 becomes ln 2
        (0.0, math.log(4 / 2)),  # or 0: 1, 2, 1
    ],
)
def test_logits_of_absent_classes_are_scaled(absent: float, expected: float) -> None:
    objective = Objective(Constant(), torch.tensor([3, 1, 0]), settings(absent=absent))
    assert float(objective.supervised(LOGITS, torch.tensor([1]))) == pytest.approx(expected, abs=1e-6)


def test_a_client_of_all_classes_knows_no_scale() -> None:
    objective = Objective(Constant(), torch.tensor([3, 1, 1]), settings(absent=0.0))
    assert float(objective.supervised(LOGITS, torch.tensor([1]))) == pytest.approx(math.log(7 / 2), abs=1e-6)


def test_the_proximal_term_by_hand() -> None:
    model = Constant()
    objective = Objective(model, torch.tensor([1, 1, 1]), settings(proximal=0.1))
    images, labels = torch.zeros(2, 1, 1, 1), torch.tensor([1, 1])
    at_start = objective(images, labels)
    assert float(at_start) == pytest.approx(math.log(7 / 2), abs=1e-6)
    with torch.no_grad():
        model.weights += torch.tensor([2.0, 2.0, 2.0])  # the softmax does not move
    moved = objective(images, labels)
    assert float(moved - at_start) == pytest.approx(0.1 / 2 * 12, abs=1e-5)
    moved.backward()  # μ(θ − θ₀) beside the gradient of the cross-entropy
    assert model.weights.grad is not None
    assert model.weights.grad.tolist() == pytest.approx([1 / 7 + 0.2, 2 / 7 - 1 + 0.2, 4 / 7 + 0.2], abs=1e-6)


@pytest.mark.parametrize(
    ("family", "samples", "shape", "device", "expected", "why"),
    [
        ("none", 5000, (3, 32, 32), CUDA, "none", "generator.family is none"),
        ("cvae", 1, (1, 8, 8), CPU, "none", "1 training sample, fewer than generator.min_samples = 20"),
        ("auto", 19, (3, 32, 32), CUDA, "none", "19 training samples, fewer than generator.min_samples = 20"),
        ("dcgan", 20, (1, 8, 8), CPU, "dcgan", "says so"),
        ("auto", 5000, (3, 32, 32), CPU, "cvae", "without an accelerator"),
        ("auto", 5000, (1, 28, 28), CUDA, "cvae", "draws such samples well"),
        ("auto", 5000, (3, 96, 96), CUDA, "cvae", "27648 values, too large"),
        ("auto", 999, (3, 32, 32), CUDA, "cvae", "999 training samples, too few"),
        ("auto", 1000, (3, 32, 32), CUDA, "flow", "an accelerator"),
    ],
)
def test_auto_picks_a_generator_and_says_why(
    family: str, samples: int, shape: tuple[int, int, int], device: torch.device, expected: str, why: str
) -> None:
    config = GeneratorConfig(family=family)  # type: ignore[arg-type]
    picked, reason = pick_family(config, samples, image_schema(shape, ("a", "b")), device)
    assert picked == expected
    assert why in reason
