"""What a panel of experts loses against all of them: a thousand small clients, and ways to choose a hundred.

    python benchmarks/panel.py --data mnist-train.parquet --alphas 0.05 0.3

A thousand perceptrons of 32 units learn together, one product of matrices for all, each on its own 48 pictures. The
ensembles answer 3,000 test pictures. Nothing random but the split and the first weights: one seed.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.encoders.reading import load
from mosaic_fl.engines.sites import spread
from mosaic_fl.server.experts import class_balanced, class_priors, class_weighted, class_weights, mean_probabilities
from mosaic_fl.server.panel import PANEL, chosen, contrast

CLIENTS = 1000
EACH = 48
UNITS = 32
STEPS = 40
TEST = 3000
PART = 500  # test pictures whose outputs are weighted at once
FEWER = (30, 50)  # sizes of smaller panels
A_SAMPLE = ((10, 20), (20, 30), (20, 80), (50, 50))
"""A panel that is asked of every sample, and how many more are asked of each."""


def outputs_of(inputs: Tensor, labels: Tensor, test: Tensor) -> Tensor:
    """Logits (n, K, C) of K networks after training on `inputs` (K, s, d) with `labels` (K, s)."""
    rng = torch.Generator().manual_seed(0)
    size = inputs.shape[2]
    shapes = ((size, UNITS), (1, UNITS), (UNITS, 10), (1, 10))
    weights = [(2 * torch.rand(CLIENTS, *shape, generator=rng) - 1) / max(1, shape[0]) ** 0.5 for shape in shapes]
    weights = [weight * (shape[0] > 1) for weight, shape in zip(weights, shapes, strict=True)]
    for weight in weights:
        weight.requires_grad_()
    optimiser = torch.optim.AdamW(weights, lr=3e-3, weight_decay=1e-2)

    def logits(samples: Tensor) -> Tensor:
        hidden = torch.baddbmm(weights[1], samples, weights[0]).relu()
        return torch.baddbmm(weights[3], hidden, weights[2])

    for _ in range(STEPS):
        loss = CLIENTS * F.cross_entropy(logits(inputs).flatten(0, 1), labels.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        parts = [logits(part.expand(CLIENTS, -1, -1)).transpose(0, 1) for part in test[None].split(500, 1)]
    return torch.cat(parts)


def most_samples(counts: Tensor, size: int) -> list[int]:
    """Of each class in turn the client with the most samples of it that is left."""
    left = counts.clone()
    places = list[int]()
    while len(places) < size:
        place = int(left[:, len(places) % counts.shape[1]].argmax())
        places.append(place)
        left[place] = -1
    return sorted(places)


def routed(outputs: Tensor, counts: Tensor, first: int, more: int) -> Tensor:
    """`outputs` (n, K, C) without those that are not asked, NaN: a panel of `first`, and `more` others a sample.

    The others are those of whom the panel's word lets expect the most contrast.
    """
    panel = chosen(counts, first)
    word = class_weighted(outputs[:, panel], class_weights(counts[panel])).exp()
    worth = word @ contrast(counts).float().T
    worth[:, panel] = -1
    asked = torch.zeros(outputs.shape[:2], dtype=torch.bool)
    asked[:, panel] = True
    asked.scatter_(1, worth.topk(more, dim=1).indices, True)
    return outputs.masked_fill(~asked[:, :, None], torch.nan)


def show(name: str, asked: Tensor, counts: Tensor, truth: Tensor) -> None:
    """Print the accuracy of three ensembles of the experts with `counts` (K, C), of outputs (n, K, C)."""
    weights = class_weights(counts)
    priors = class_priors(counts)
    right = torch.zeros(3)
    for part, labels in zip(asked.split(PART), truth.split(PART), strict=True):
        ensembles = mean_probabilities(part), class_weighted(part, weights), class_balanced(part, weights, priors)
        right += torch.tensor([int((answer.argmax(1) == labels).sum()) for answer in ensembles])
    print(f"| {name} | {' | '.join(f'{share:.1%}' for share in (right / len(truth)).tolist())} |", flush=True)


def main() -> None:
    """Print a line a way to choose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.05, 0.3])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    base = Config().with_values({"data.name": arguments.data, "partition.clients": CLIENTS})
    splits = load(base)
    test = splits.test.samples[torch.arange(TEST)].inputs().flatten(1)  # type: ignore[union-attr]
    truth = splits.test.labels[:TEST]
    print("| α | asked | mean probabilities | class-weighted | class-balanced |\n|---|---|---|---|---|")
    for alpha in arguments.alphas:
        config = base.with_values({"partition.alpha": alpha, "partition.split": "equal_size_prior"})
        sites = spread(config, splits, ["mlp:32"])
        inputs = torch.stack([site.data.samples.inputs()[:EACH].flatten(1) for site in sites])  # type: ignore[index]
        labels = torch.stack([site.data.labels[:EACH] for site in sites])
        outputs = outputs_of(inputs, labels, test)
        counts = torch.stack([site.data.class_counts() for site in sites])
        ways = {
            "all": list(range(CLIENTS)),
            f"{PANEL} by contrast (`panel`)": chosen(counts, PANEL),
            f"{PANEL} by their number of samples": most_samples(counts, PANEL),
            f"{PANEL} at random": torch.randperm(CLIENTS, generator=torch.Generator().manual_seed(1))[:PANEL].tolist(),
        }
        for size in FEWER:
            ways[f"{size} by contrast"] = chosen(counts, size)
        for name, places in ways.items():
            show(f"{alpha} | {name}", outputs[:, places], counts[places], truth)
        for first, more in A_SAMPLE:
            asked = routed(outputs, counts, first, more)
            show(f"{alpha} | {first} by contrast, and {more} a sample by their word", asked, counts, truth)


if __name__ == "__main__":
    main()
