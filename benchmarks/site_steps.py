"""What a step of a site's training costs (docs/notes/profile.md): milliseconds, the kernel's share, page faults.

    python benchmarks/site_steps.py DATA MODEL STEPS [SAMPLES]

DATA and MODEL are what `mosaic run --data` and `--models` take; one site has all SAMPLES of them. The best of three
trainings of so many steps. To compare two versions run it in turn, each with its own PYTHONPATH.
"""

import resource
import sys
from collections.abc import Callable

import torch

from mosaic_fl.config import Config
from mosaic_fl.experts.training import train_classifier
from mosaic_fl.generators.cvae import train_vae
from mosaic_fl.models.registry import build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.runs.runner import prepare
from mosaic_fl.training.monitor import Recorder

CPU = torch.device("cpu")


def cost(train: Callable[[], object], steps: int) -> tuple[float, float, float]:
    """(milliseconds a step, the kernel's share of them in 0..1, page faults a step) of one training."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    train()
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, kernel = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return 1000 * (user + kernel) / steps, kernel / (user + kernel), (after.ru_minflt - before.ru_minflt) / steps


def main() -> None:
    """Train once to warm up, then three times, and print the best."""
    data, architecture, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    values = {"data.name": data, "partition.clients": 1, "partition.alpha": 100.0, "models.clients": (architecture,)}
    values |= {"train.max_steps": steps, "train.patience": 0, "generator.steps": steps}
    values |= {"data.max_train": int(sys.argv[4])} if len(sys.argv) > 4 else {}
    config = Config().with_values(values)
    site = prepare(config).sites[0].data
    few, listener = site.subset(range(2)), Recorder("steps", client=0)
    with Stream(0, "init", 0).ambient():
        model = build(architecture, site.schema)
    trainings: dict[str, Callable[[], object]] = {
        "classifier": lambda: train_classifier(model, site, few, config.train, Stream(0, "train", 0), CPU, listener),
        "cvae": lambda: train_vae(site, model.eval(), config.generator, Stream(0, "generator", 0), CPU, listener),
    }
    for name, train in trainings.items():
        cost(train, steps)
        best = min(cost(train, steps) for _ in range(3))
        print(f"{name}: {best[0]:.1f} ms a step, kernel {best[1]:.1%}, {best[2]:.0f} page faults", flush=True)


if __name__ == "__main__":
    main()
