"""The one experiment of all frameworks: its words on the command line, its data, its network, its local training.

Nothing here knows a framework, ours included: each framework's own environment runs it.
"""

import argparse
import json
from dataclasses import dataclass, fields
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

AT_ONCE = 512  # test images that are classified at once
SIDE = 28  # pixels


@dataclass(frozen=True)
class Experiment:
    """FedAvg with all clients in each round; a client's part of a round is one pass over its images by plain SGD.

    `threads` are torch's intra-op threads of the process; 0: as many as torch takes by itself.
    """

    train: Path
    test: Path
    clients: int
    rounds: int
    batch: int
    lr: float
    seed: int
    threads: int = 1

    @classmethod
    def from_words(cls) -> "Experiment":
        """The experiment of the command line; torch has its threads."""
        parser = argparse.ArgumentParser()
        for field in fields(cls):
            parser.add_argument(f"--{field.name}", type=field.type, required=True)
        experiment = cls(**vars(parser.parse_args()))
        if experiment.threads:
            torch.set_num_threads(experiment.threads)
        torch.manual_seed(experiment.seed)
        return experiment

    def words(self) -> list[str]:
        """What `from_words` reads."""
        return [word for field in fields(self) for word in (f"--{field.name}", str(getattr(self, field.name)))]


@cache
def shards(experiment: Experiment) -> list[tuple[Tensor, Tensor]]:
    """The images and labels of each client: equally many, drawn at random; read once in a process."""
    images, labels = read_images(experiment.train)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(experiment.seed))
    return [(images[part], labels[part]) for part in order.tensor_split(experiment.clients)]


def report(accuracy: float, steps: int) -> None:
    """Print the figures that the benchmark reads, as the last line: the accuracy in 0..1, the steps of all clients."""
    print(json.dumps({"accuracy": accuracy, "steps": steps}))


def read_images(path: Path) -> tuple[Tensor, Tensor]:
    """Images uint8 (n, 1, h, w) and labels int64 (n,) of a Parquet file with `image` (bytes of a PNG) and `label`."""
    table = pyarrow.parquet.read_table(path)
    files = table["image"].combine_chunks().field("bytes")
    pixels = np.stack([np.asarray(Image.open(BytesIO(file.as_py()))) for file in files])
    return torch.from_numpy(pixels)[:, None], torch.from_numpy(table["label"].to_numpy().copy())


def inputs(images: Tensor) -> Tensor:
    """Images as the network takes them, float32 in −1..1."""
    return images.float() / 127.5 - 1


def network() -> nn.Sequential:
    """The layers of mosaic's `cnn:16:2:4`: group norm, since not every framework averages batch norm's statistics."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.GroupNorm(4, 16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.GroupNorm(4, 32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


def train(model: nn.Module, images: Tensor, labels: Tensor, batch: int, lr: float) -> int:
    """One pass over the images in a new order, in place; returns the number of steps."""
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, fused=True)
    model.train()
    parts = torch.randperm(len(labels)).split(batch)
    for index in parts:
        loss = F.cross_entropy(model(inputs(images[index])), labels[index])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return len(parts)


@torch.no_grad()
def accuracy(model: nn.Module, path: Path) -> float:
    """The share, 0..1, of the images of a Parquet file that `model` classifies as their label says."""
    images, labels = read_images(path)
    model.eval()
    logits = torch.cat([model(inputs(part)) for part in images.split(AT_ONCE)])
    return float((logits.argmax(1) == labels).float().mean())
