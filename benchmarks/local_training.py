"""Local training of 10 clients against a hand-written PyTorch loop over the same steps, as ratios of one run.

    python benchmarks/local_training.py [--data ../shared/data/mnist] [--repeats 5] [--save]

Small CNN, MNIST-sized images (random pixels without --data), 200 steps a client, one intra-op thread a process.
The loop and the engine alternate, and the median of each ratio counts. --save writes the ratios to
benchmarks/results/local-training.toml, from which `make results` makes RESULTS.md.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.data.partition import partition
from mosaic_fl.data.sources import load
from mosaic_fl.domains.dataset import image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.engines.local import LocalFederation
from mosaic_fl.exchange.federation import FitJob
from mosaic_fl.models import build
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.storage.journal import Journal
from result_files import save

MODEL, STEPS, BATCH, CLIENTS = "cnn:16", 200, 64, 10


def settings(workers: int) -> Config:
    """The same number of steps for every client, without looks at a validation split, which the loop has not."""
    return Config().with_values(
        {
            "run.workers": workers,
            "partition.clients": CLIENTS,
            "data.validation": 0.0,
            "train.min_steps": STEPS,
            "train.max_steps": STEPS,
            "train.batch_size": BATCH,
            "train.check_every": STEPS,
        }
    )


def sites(data: str) -> tuple[Site, ...]:
    """Ten clients' samples: of the data set at `data`, or random ones of its size."""
    if data:
        train = load(Config().with_values({"data.name": data}).data, 0).train
    else:
        rng = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (60_000, 1, 28, 28), generator=rng, dtype=torch.uint8)
        labels = torch.arange(60_000) % 10
        train = image_dataset(images, labels, image_schema((1, 28, 28), tuple("0123456789")))
    shards = partition(train, settings(1).partition.model_copy(update={"split": "iid"}), 0)
    return tuple(Site(k, shard, MODEL) for k, shard in enumerate(shards))


def by_hand(places: tuple[Site, ...]) -> float:
    """Seconds of the loop that anyone would write: shuffle, index, forward, backward, step."""
    start = time.perf_counter()
    for site in places:
        model = build(MODEL, site.data.schema)
        images, labels = site.data.images, site.data.labels
        optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        model.train()
        step = 0
        while step < STEPS:
            order = torch.randperm(len(labels))
            for i in range(0, len(order) - BATCH + 1, BATCH):
                index = order[i : i + BATCH]
                loss = F.cross_entropy(model(images[index].float() / 127.5 - 1), labels[index])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                step += 1
                if step == STEPS:
                    break
    return time.perf_counter() - start


def by_engine(places: tuple[Site, ...], workers: int) -> float:
    """Seconds of `fit` at all clients; the workers are there already."""
    with LocalFederation(places, settings(workers), torch.device("cpu"), Journal()) as federation:
        state = copy_state(build(MODEL, federation.schema))
        start = time.perf_counter()
        federation.fit([FitJob(k, MODEL, state) for k in range(CLIENTS)], 0)
        return time.perf_counter() - start


def main() -> None:
    """Print each repeat's seconds and the median ratios beside their targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="a data set by name or path")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write them to benchmarks/results/local-training.toml")
    options = parser.parse_args()
    if options.data and not Path(options.data).parent.exists():
        parser.error(f"{options.data} does not exist")
    torch.set_num_threads(1)
    places = sites(options.data)
    ratios: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(options.repeats):
        hand = by_hand(places)
        for workers, found in ratios.items():
            seconds = by_engine(places, workers)
            found.append(seconds / hand)
            print(
                f"repeat {repeat}: by hand {hand:.2f} s, {workers} worker(s) {seconds:.2f} s, ratio {found[-1]:.3f}",
                flush=True,
            )
    for workers, target in ((1, 1.1), (2, 0.65)):
        print(f"{workers} worker(s): median ratio {statistics.median(ratios[workers]):.3f} (target: at most {target})")
    if options.save:
        save("local-training", [["1 worker", ratios[1]], ["2 workers", ratios[2]]])


if __name__ == "__main__":
    main()
