"""What the site's own gate says in 20 runs: is what was overfitted on purpose refused, and what passes?

    OMP_NUM_THREADS=1 python benchmarks/privacy_gate.py [--recipes purpose,short,default] [--runs 20] [--samples N]
                                                        [--out benchmarks/out/privacy-gate]

A run is a contribution of `samples` digits, another draw of them each time, and the gate that refuses, which has no
strangers but the site's own samples: it audits by halves (docs/audit.md). A run is a JSON file in `--out`, and one that
is there is not made again. `purpose` is a small generator after 600 steps on 100 digits; `short` learns little of each
sample, so that it may pass; `default` are the settings that hold where nothing is said.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.client.audit_gate import examine, trainer
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.data import sources
from mosaic_fl.domains.dataset import Dataset, pool
from mosaic_fl.numerics.randomness import Stream

RECIPES: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "purpose": (
        100,
        {"generator.steps": 600, "generator.width": 8, "generator.perceptual": 0, "audit.seconds": 5},
    ),
    "short": (
        1400,
        {
            "generator.epochs": 30, "train.augment": "shift", "train.max_steps": 60, "train.min_steps": 20,
            "audit.strangers": "halves",
        },
    ),
    "default": (200, {}),
}  # fmt: skip
"""Samples and settings by name."""
CPU = torch.device("cpu")


def main() -> None:
    """Make the runs that are missing, then print a line a recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--samples", type=int, default=0, help="in place of the recipe's")
    parser.add_argument("--out", default="benchmarks/out/privacy-gate")
    words = parser.parse_args()
    torch.set_num_threads(1)
    out = Path(words.out)
    out.mkdir(parents=True, exist_ok=True)
    splits = sources.load(Config().data, 0)
    data = pool([splits.train, splits.test])
    lines = ["| recipe | samples | refused | upper end of the worst attack: least, mean, most | seconds a run |"]
    lines.append("|---|---|---|---|---|")
    for name in words.recipes.split(","):
        samples, settings = RECIPES[name]
        samples = words.samples or samples
        runs = [run(out / f"{name}-{samples}-{seed}.json", data, samples, settings, seed) for seed in range(words.runs)]
        refused = sum(not one["passes"] for one in runs)
        highs = [one["high"] for one in runs]
        seconds = sum(one["seconds"] for one in runs) / len(runs)
        spread = f"{min(highs):.3f}, {sum(highs) / len(highs):.3f}, {max(highs):.3f}"
        lines.append(f"| `{name}` | {samples:,} | {refused} of {len(runs)} | {spread} | {seconds:.1f} |")
    print("\n".join(lines))


def run(file: Path, data: Dataset, samples: int, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The gate's word on one contribution, from its file or made now."""
    if file.exists():
        return dict(json.loads(file.read_text()))
    start = time.process_time()
    config = Config().with_values({"run.seed": seed, "audit.gate": "refuse", **settings})
    order = torch.randperm(len(data), generator=Stream(seed, "benchmark").torch())
    site = Site(0, data.subset(order[:samples]), "cnn:16")
    found = examine(site, trainer(CPU)(site, config), config, trainer(CPU), thorough=True)
    assert found is not None
    row = found.to_json() | {"passes": found.passes, "seconds": time.process_time() - start}
    file.write_text(json.dumps(row, indent=1))
    print(f"{file.name}: {found.summary}", flush=True)
    return row


if __name__ == "__main__":
    main()
