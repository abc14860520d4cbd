"""Parts (c) and (d) of `accelerator.py`: the whole of Mosaic on CIFAR-10, with its accuracies and minutes."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.config.presets import preset_config
from mosaic_fl.domains.dataset import Splits
from mosaic_fl.runs.runner import prepare, run

Settings = dict[str, Any]
NATURAL = {"preset": "natural"}
# What a minute of an accelerator buys: longer local training, larger generators, a longer distillation.
LONG = {
    "train.max_steps": 3000, "train.patience": 0, "generator.steps": 3000, "generator.batch_size": 128,
    "generator.lr": 1e-3, "distill.pool": 24_000, "distill.steps": 3000, "distill.batch_size": 256,
    "distill.augment": "flip", "distill.terms": 1, "distill.candidate_share": 0.1, "distill.retry": False,
}  # fmt: skip
RUNS: dict[str, dict[str, Settings]] = {
    "c": {"default": {}, "natural, cvae": {**NATURAL, "generator.family": "cvae"}},
    "d": {
        "long, flow": {**LONG, "generator.family": "flow", "generator.width": 48},
        "long, cvae": {**LONG, "generator.family": "cvae", "generator.width": 32},
    },
}
TINY = {
    "data.max_train": 400, "data.max_test": 100, "train.max_steps": 4, "train.min_steps": 4, "generator.steps": 4,
    "generator.width": 4, "distill.pool": 64, "distill.prior_pool": 64, "distill.steps": 4, "distill.batch_size": 16,
    "distill.gate_samples": 64, "meta.samples": 64, "meta.steps": 4, "generator.batch_size": 16, "train.batch_size": 16,
}  # fmt: skip


def federations(
    part: str, device: torch.device, splits: Splits, keep: Callable[[dict[str, Any]], None], *, tiny: bool
) -> dict[str, Any]:
    """The runs of a part; `keep` gets all figures so far after each, and every few seconds within one."""
    figures: dict[str, Any] = {"rows": [], "running": None}
    for name, settings in list(RUNS[part].items())[: 1 if tiny else None]:
        started = time.perf_counter()
        figures["running"] = {"name": name, "stages": {}}
        try:
            row = whole_run(settings, device, splits, progress(figures, started, keep), tiny=tiny)
        except Exception as fault:  # the other runs still count
            row = {"fault": f"{type(fault).__name__}: {fault}"[:500]}
        figures["rows"].append({"name": name, "seconds": time.perf_counter() - started, **row, "settings": settings})
        figures["running"] = None
        print(json.dumps(figures["rows"][-1]), flush=True)
        keep(figures)
    return figures


def progress(
    figures: dict[str, Any], started: float, keep: Callable[[dict[str, Any]], None]
) -> Callable[[str, int, int, int], None]:
    """A listener that notes when each stage was seen first and last, in seconds; a part that is killed has these."""
    latest = [0.0]

    def listen(stage: str, client: int, done: int, total: int) -> None:
        now = time.perf_counter()
        key = stage if client < 0 else f"{stage} {client}"
        seen = figures["running"]["stages"].setdefault(key, {"from": now - started})
        seen |= {"to": now - started, "done": done, "of": total}
        if now - latest[0] > 5:
            latest[0] = now
            keep(figures)

    return listen


def whole_run(
    settings: Settings,
    device: torch.device,
    splits: Splits,
    listen: Callable[[str, int, int, int], None],
    *,
    tiny: bool,
) -> dict[str, Any]:
    """One exchange of 5 clients at α = 0.1; the figures of its result that the table needs."""
    model = "resnet8" if tiny else "resnet18"
    values = {key: value for key, value in settings.items() if key != "preset"}
    values |= {"models.clients": [model], "models.student": model, "partition.clients": 5, "partition.alpha": 0.1}
    values |= {"run.device": str(device), "run.threads": 1 if tiny else 8, "run.workers": 1}
    config: Config = preset_config(settings.get("preset", "default")).with_values(values | (TINY if tiny else {}))
    with tempfile.TemporaryDirectory() as folder:
        result = run(prepare(config, splits), Path(folder), listen)
    names = ("accuracy", "teacher_accuracy", "ensemble_accuracy", "mean_probability_accuracy")
    names = (*names, "class_weighted_accuracy", "local_accuracy", "holdout", "choice", "generators", "seconds")
    kept = {name: result[name] for name in names if name in result}
    kept["stage_seconds"] = kept.pop("seconds")
    return kept
