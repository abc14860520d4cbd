"""Accuracy and attacks by ε: noisy class moments of `gabor` on MNIST or digits, as cells, two tables and a picture.

    OMP_NUM_THREADS=1 python benchmarks/privacy_epsilon.py MNIST-TRAIN.parquet MNIST-TEST.parquet [--images 10000]
        [--samples 200,1000,5000] [--epsilons 0.3,1,3,10,inf] [--seeds 0,1,2] [--encoder gabor]
        [--out benchmarks/out/privacy-epsilon] [--picture docs/privacy-epsilon.svg]
    OMP_NUM_THREADS=1 python benchmarks/privacy_epsilon.py digits digits --encoder gabor:64 --images 0 --held 642
        --samples 50,200,800 --epsilons 10

With `--images 0` there are attacks alone.

A cell of accuracy is a run as `mosaic run --preset encoder --encoder gabor --alpha 0.5` of 5 clients with so many
training images, on all test images. A cell of attacks is one contribution of `samples` training images and all attacks
of `mosaic audit`. Its strangers are up to 1,000 other training images, classes as often. δ is 1e-5. A cell is a JSON
file in `--out`, and one that is there is not made again. Noise is from the system's secure source, so a cell that is
made anew differs a little.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

import mosaic_fl
from mosaic_fl.config import Config
from mosaic_fl.config.presets import PRESETS
from mosaic_fl.data import sources
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.encoders.encoding import encode
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.privacy.audit.audit import audit
from mosaic_fl.privacy.audit.finding import Audit, Finding
from mosaic_fl.privacy.audit.matching import matched

STRANGERS = 1000
HELD = 2000  # training images that no site has, from which strangers are taken
ENCODER = PRESETS["encoder"] | {"data.encoder": ""}  # data are vectors already


def main() -> None:
    """Make the cells that are missing, print the tables and draw the picture."""
    words = arguments()
    torch.set_num_threads(1)
    out = Path(words.out)
    out.mkdir(parents=True, exist_ok=True)
    train, test = (encode(part, words.encoder) for part in splits(words.train, words.test))
    epsilons = [float(word) for word in words.epsilons.split(",")]
    seeds = [int(word) for word in words.seeds.split(",")]
    sizes = [int(word) for word in words.samples.split(",")]
    hits = {
        epsilon: [
            made(
                out / f"accuracy-{words.images}-{epsilon:g}-{seed}.json",
                lambda e=epsilon, s=seed: accuracy(train, test, words.images, e, s),
            )["accuracy"]
            for seed in seeds
        ]
        for epsilon in (epsilons if words.images else [])
    }
    found = {
        (epsilon, size): [
            Audit.from_json(
                made(
                    out / f"attacks-{size}-{epsilon:g}-{seed}.json",
                    lambda e=epsilon, n=size, s=seed: attacks(train, n, e, s, words.held),
                )
            )
            for seed in seeds
        ]
        for epsilon in epsilons
        for size in sizes
    }
    if hits:
        print(accuracy_table(hits))
    print(attack_table(found, epsilons, sizes))
    if words.picture:
        draw(Path(words.picture), words.images, hits, found, sizes)


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--samples", default="200,1000,5000")
    parser.add_argument("--epsilons", default="0.3,1,3,10,inf")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", default="benchmarks/out/privacy-epsilon")
    parser.add_argument("--picture", default="")
    parser.add_argument("--encoder", default="gabor")
    parser.add_argument("--held", type=int, default=HELD, help="training images from which strangers are taken")
    return parser.parse_args()


def splits(train: str, test: str) -> tuple[Dataset, Dataset]:
    """The two files, or the embedded digits."""
    if train == test == "digits":
        digits = sources.load(Config().data, 0)
        return digits.train, digits.test
    return sources.load_file(train), sources.load_file(test)


def made(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A cell from its file, or made now."""
    if not file.exists():
        file.write_text(json.dumps(make(), indent=1))
        print(file.name, flush=True)
    return dict(json.loads(file.read_text()))


def order_of(data: Dataset, seed: int) -> torch.Tensor:
    """All places in another order for each seed."""
    return torch.randperm(len(data), generator=Stream(seed, "benchmark").torch())


def accuracy(train: Dataset, test: Dataset, images: int, epsilon: float, seed: int) -> dict[str, Any]:
    """The global model's accuracy."""
    settings = ENCODER | {"partition.clients": 5, "partition.alpha": 0.5, "privacy.epsilon": epsilon}
    part = train.subset(order_of(train, seed)[:images])
    result = mosaic_fl.run("mosaic", part, test, settings=settings, seed=seed).result
    return {"accuracy": result["accuracy"]}


def attacks(train: Dataset, samples: int, epsilon: float, seed: int, least: int) -> dict[str, Any]:
    """What all attacks find in one contribution."""
    order = order_of(train, seed)
    members = train.subset(order[least : least + samples])
    settings = {"generator.family": "moments", "privacy.epsilon": epsilon, "data.validation": 0.0}
    sent = mosaic_fl.contribute(members, model="discriminant", client=0, settings=settings, seed=seed)
    held = train.subset(order[:least])
    others = matched(members, held, Stream(seed, "benchmark/matched"))
    some = torch.randperm(len(others), generator=Stream(seed, "benchmark/some").torch())[:STRANGERS]
    return audit(sent, members, others.subset(some), seed).to_json()


def accuracy_table(hits: dict[float, list[float]]) -> str:
    """Accuracy of all seeds by ε."""
    lines = ["| ε | accuracy of the global model, percent |", "|---|---|"]
    for epsilon, values in hits.items():
        lines.append(f"| {word(epsilon)} | {', '.join(f'{100 * value:.1f}' for value in values)} |")
    return "\n".join(lines)


def attack_table(found: dict[tuple[float, int], list[Audit]], epsilons: Sequence[float], sizes: Sequence[int]) -> str:
    """Of each attack the mean AUC over seeds, and the largest upper end."""
    lines = ["| samples | attack | " + " | ".join(f"ε = {word(epsilon)}" for epsilon in epsilons) + " |"]
    lines.append("|---" * (2 + len(epsilons)) + "|")
    for size in sizes:
        names = dict.fromkeys(f.attack for e in epsilons for one in found[e, size] for f in one.findings)
        for name in names:
            cells = [[f for one in found[e, size] for f in one.findings if f.attack == name] for e in epsilons]
            texts = [f"{mean(cell):.2f} ({max(f.high for f in cell):.2f})" if cell else "–" for cell in cells]
            lines.append(f"| {size:,} | `{name}` | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def mean(findings: Sequence[Finding]) -> float:
    """The mean AUC."""
    return sum(finding.auc for finding in findings) / len(findings)


def word(epsilon: float) -> str:
    """ε in words."""
    return "∞" if epsilon == float("inf") else f"{epsilon:g}"


def draw(
    file: Path,
    images: int,
    hits: dict[float, list[float]],
    found: dict[tuple[float, int], list[Audit]],
    sizes: Sequence[int],
) -> None:
    """Accuracy by ε, and beside it the worst attack's AUC with its interval, of the mean of seeds."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "privacy", "font.size": 9}
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    places = range(len(hits))
    values = [[100 * value for value in row] for row in hits.values()]
    left.plot(places, [sum(row) / len(row) for row in values], marker="o", color="black")
    left.set(title=f"accuracy of the global model, {images:,} images, %")
    for number, size in enumerate(sizes):
        shift = 0.12 * (number - (len(sizes) - 1) / 2)
        worst = [[one.worst for one in found[epsilon, size] if one.worst is not None] for epsilon in hits]
        means = [mean(row) for row in worst]
        below = [m - sum(f.low for f in row) / len(row) for m, row in zip(means, worst, strict=True)]
        above = [sum(f.high for f in row) / len(row) - m for m, row in zip(means, worst, strict=True)]
        at = [place + shift for place in places]
        right.errorbar(at, means, [below, above], marker="o", capsize=2, label=f"{size:,} samples a site")
    right.axhline(0.5, color="grey", linewidth=0.8)
    right.set(title="AUC of the worst attack, 95 % interval")
    right.legend(frameon=False)
    for axis in (left, right):
        axis.set_xticks(list(places), [word(epsilon) for epsilon in hits])
        axis.set_xlabel("ε (δ = 1e-5)")
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
