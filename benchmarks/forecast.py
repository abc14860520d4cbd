"""Forecasts beside what then happened: time, memory, bytes and disk of six settings, as ratios forecast / happened.

    python benchmarks/forecast.py [--data ../shared/data] [--only demo,mnist] [--out benchmarks/out/forecast]

Each setting runs in a process of its own, forecast and run back to back, so that both see the same load. Without
--data, the settings on MNIST and CIFAR-10 are of procedural pictures of those sizes.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

FEW = {"generator.steps": 200, "meta.steps": 60, "meta.samples": 1000, "distill.steps": 150, "distill.pool": 3000}
TINY = {"generator.steps": 30, "meta.steps": 30, "meta.samples": 64, "distill.pool": 96, "distill.prior_pool": 64}
SETTINGS = {
    "demo": ("digits", {}),
    "mnist": ("mnist", {"partition.clients": 10, "data.max_train": 4000, "data.max_test": 1000, **FEW}),
    "cifar": (
        "cifar10",
        {
            "data.max_train": 2000, "data.max_test": 500, "train.max_steps": 120, "train.min_steps": 60, **FEW,
            "models.clients": ["cnn:16:3", "cnn:8:3"], "distill.prior_pool": 2000,
        },
    ),
    "64": (
        "pictures-64",
        {"partition.clients": 3, "train.max_steps": 60, "train.min_steps": 40, **FEW, "distill.steps": 60,
         "distill.pool": 600, "distill.prior_pool": 400, "meta.samples": 300},
    ),
    "resnet18": (
        "cifar10",
        {"partition.clients": 2, "data.max_train": 300, "data.max_test": 60, "models.clients": ["resnet18"],
         "models.student": "resnet18", "train.max_steps": 8, "train.min_steps": 8, "distill.steps": 8, **TINY},
    ),
    "224": (
        "pictures-224",
        {"partition.clients": 2, "models.clients": ["resnet18", "cnn:16:4"], "models.student": "cnn:16:5",
         "partition.alpha": 10, "train.max_steps": 6, "train.min_steps": 6, "distill.steps": 6, **TINY,
         "train.batch_size": 16, "distill.batch_size": 32, "generator.steps": 15, "distill.pool": 64,
         "distill.prior_pool": 32, "meta.samples": 32},
    ),
}  # fmt: skip
FIGURES = ("seconds", "memory", "up", "down", "disk")
# The forecast, and then the command's own work.
PROGRAM = """
import json, sys
from pathlib import Path
from mosaic_fl.cli.simulate import simulate
from mosaic_fl.config import Config
from mosaic_fl.forecast.foresee import foresee_run
from mosaic_fl.runs.runner import prepare
config = Config().with_values(json.loads(sys.argv[1]))
print(json.dumps(foresee_run(prepare(config)).to_json()), flush=True)
simulate(config, Path(sys.argv[2]), (), resume=False, force=True)
"""


def measured(values: dict, out: Path) -> tuple[dict, dict]:
    """(forecast, what happened) of one run."""
    words = [sys.executable, "-c", PROGRAM, json.dumps(values), str(out)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    foreseen, start = json.loads(process.stdout.readline()), time.perf_counter()
    memory = disk = 0
    while process.poll() is None:
        memory, disk = max(memory, held(process.pid)), max(disk, on_disk(out))
        time.sleep(0.3)
    seconds = time.perf_counter() - start
    process.stdout.read()
    assert process.returncode == 0, values
    result = json.loads((out / "result.json").read_text())
    seconds -= result["seconds"]["load"]  # which is over when a run forecasts
    up, down = sum(result["bytes_up"]), sum(result["bytes_down"])
    return foreseen, {"seconds": seconds, "memory": memory, "up": up, "down": down, "disk": disk}


def held(root: int) -> int:
    """Bytes of a process and all below it; shared pages are counted once (PSS)."""
    total, pids = 0, [root]
    while pids:
        pid = pids.pop()
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, StopIteration):
            continue
    return total


def on_disk(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # replaced meanwhile
            continue
    return total


def pictures(folder: Path, side: int, count: int = 60) -> Path:
    """Three classes of `count` colour pictures each: discs, bars and noise on grounds of any colour."""
    rng, places = np.random.default_rng(0), np.mgrid[0:side, 0:side]
    for name in ("disc", "bars", "noise"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.full((side, side, 3), rng.integers(256, size=3), np.uint8)
            at = rng.integers(side // 4, 3 * side // 4, size=2)
            disc = ((places[0] - at[0]) ** 2 + (places[1] - at[1]) ** 2) < (side / 5) ** 2
            where = {"disc": disc, "bars": (places[1] + at[0]) % (side // 4) < side // 8}.get(name)
            ink = rng.integers(256, size=3) if where is not None else rng.integers(256, size=(side, side, 3))
            pixels[where if where is not None else ...] = ink
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def source(name: str, data: Path | None, out: Path) -> str:
    """The data set's place, made where it is not there."""
    if name == "digits" or (data is not None and (data / f"{name}-train.parquet").exists()):
        return name if name == "digits" else str(data / name)
    side = int(name.partition("-")[2] or 32)
    return str(pictures(out / f"pictures-{side}", side, 800 if name in ("mnist", "cifar10") else 60))


def main() -> None:
    """Run the settings and print a row each; a ratio above 1 was foreseen too high."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mnist-train.parquet, cifar10-train.parquet, …")
    parser.add_argument("--only", default=",".join(SETTINGS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/forecast"))
    options = parser.parse_args()
    print("| setting | steps | " + " | ".join(f"{name}: foreseen / happened = ratio" for name in FIGURES) + " |")
    print("|---" * (2 + len(FIGURES)) + "|", flush=True)
    ratios = list[float]()
    for name in options.only.split(","):
        where, values = SETTINGS[name]
        place = source(where, options.data, options.out)
        foreseen, happened = measured({"data.name": place, **values}, options.out / f"run-{name}")
        cells = []
        for figure in FIGURES:
            ratios.append(foreseen[figure] / max(1e-9, happened[figure]))
            pair = (foreseen[figure], happened[figure])
            shown = [f"{v:.0f} s" if figure == "seconds" else f"{v / 1e6:.2f} MB" for v in pair]
            cells.append(f"{shown[0]} / {shown[1]} = {ratios[-1]:.2f}")
        print(f"| {name} | {foreseen['steps']:,} | " + " | ".join(cells) + " |", flush=True)
    worst = max(max(r, 1 / max(r, 1e-9)) for r in ratios)
    print(f"\nworst factor {worst:.2f} (target 2); {sum(0.5 <= r <= 2 for r in ratios)} of {len(ratios)} within 2")


if __name__ == "__main__":
    main()
