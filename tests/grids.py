"""Tiny grids of `mosaic compare`, and what tests ask of them."""

import json
from pathlib import Path

# Very few steps: what every method leaves is looked at, not how good it is.
TINY = [
    word
    for setting in (
        "data.max_train=200", "data.max_test=60",
        "train.max_steps=6", "train.min_steps=6", "train.check_every=3",
        "generator.steps=6", "generator.width=4", "generator.latent=4",
        "meta.steps=4", "meta.samples=80", "meta.batch_size=16",
        "distill.steps=6", "distill.pool=80", "distill.prior_pool=40", "distill.batch_size=16",
        "synthesis.epochs=2", "synthesis.generator_steps=2", "synthesis.student_steps=2",
        "synthesis.batch_size=16", "synthesis.width=4", "synthesis.latent=8",
    )
    for word in ("--set", setting)
]  # fmt: skip
COMPARE = ["compare", "--clients", "2", "--alpha", "1", "--models", "cnn:4,mlp:8", "--student", "cnn:8", *TINY]
SOME = [*COMPARE, "--methods", "mosaic,fedavg,centralised", "--rounds", "1,2", "--workers", "1"]


def figures(folder: Path) -> dict[tuple[object, ...], object]:
    """Accuracy and traffic of every cell in `table.json`: what must not depend on how often the grid was started."""
    cells = json.loads((folder / "table.json").read_text())["cells"]
    keys = ("clients", "alpha", "architectures", "seed", "method", "rounds")
    return {tuple(c[k] for k in keys): (c["status"], c["accuracy"], c["bytes_up"], c["bytes_down"]) for c in cells}
