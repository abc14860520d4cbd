"""A classifier's outputs on samples at rest."""

import torch
from torch import Tensor, nn

from mosaic_fl.domains.samples import Samples
from mosaic_fl.numerics.devices import images_at_once
from mosaic_fl.numerics.memory import reuse_memory


@torch.no_grad()
def logits(model: nn.Module, samples: Samples, device: torch.device | str = "cpu") -> Tensor:
    """Logits float32 (n, C) on the CPU, in eval mode; the mode of the model is restored afterwards."""
    reuse_memory()
    was_training = model.training
    model.eval()
    parts = samples.split(images_at_once(device))
    outputs = [model(part.to(device).inputs()).float().cpu() for part in parts]
    model.train(was_training)
    return torch.cat(outputs)


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Share in 0..1 of rows of `outputs` (n, C) whose largest entry is at `labels` (n,); 0 without rows."""
    return float((outputs.argmax(1) == labels).float().mean()) if len(labels) else 0.0


def recall(outputs: Tensor, labels: Tensor, classes: int) -> list[float | None]:
    """Recall in 0..1 of each class from `outputs` (n, C) and `labels` (n,); None for a class without a label."""
    return recall_of_answers(outputs.argmax(1), labels, classes)


def recall_of_answers(answers: Tensor, labels: Tensor, classes: int) -> list[float | None]:
    """As `recall`, of the classes (n,) that were answered."""
    right = (answers == labels).float()
    return [float(right[labels == c].mean()) if bool((labels == c).any()) else None for c in range(classes)]
