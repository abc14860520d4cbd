"""A thousand clients in two levels: regions are distilled, and their contributions again, beside all clients at once.

    python benchmarks/regions.py --data mnist-train.parquet --out out/clients --clients 1000 --regions 10 --steps 0.1

The contributions are those of `clients.py` in the same --out, and are made where they are not there. Each distillation
is `mosaic distill` in a process of its own, with a share of its usual steps and samples, one teacher and no prior
samples. Seconds are the processor's, memory is the peak of the process. A distillation that is there is
not measured again.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clients import contribute_all
from mosaic_fl.config import Config

COMMAND = "from mosaic_fl.cli.main import main; main()"


def words_of(steps: float, teacher: str) -> list[str]:
    """The settings of a distillation that takes the share `steps` of its usual steps and samples."""
    usual = Config()
    values = {
        "distill.prior": "none",
        "distill.teacher": teacher,
        "distill.terms": 1,
        "distill.pool": max(1, round(steps * usual.distill.pool)),
        "distill.steps": max(1, round(steps * usual.distill.steps)),
        "meta.steps": max(1, round(steps * usual.meta.steps)),
    }
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def distilled(parts: Sequence[Path], place: Path, words: Sequence[str], region: int | None) -> dict[str, Any]:
    """Processor seconds, peak MiB and bytes read of one distillation; with `region` it is a contribution, too."""
    figures = place.with_suffix(".json")
    if not figures.exists():
        files = [str(path) for path in parts]
        more = [] if region is None else ["--as-contribution", f"{place}.contribution", "--client", str(region)]
        command = [sys.executable, "-c", COMMAND, "distill", *files, *words, "--out", str(place), "--force", *more]
        with place.with_suffix(".log").open("w") as log:
            process = subprocess.Popen(
                command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=log, stderr=subprocess.STDOUT
            )
            _, status, used = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"a distillation failed: {place.with_suffix('.log')} says why")
        read = sum(path.stat().st_size for path in parts)
        cost = {"seconds": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss / 1024, "read": read}
        figures.write_text(json.dumps(cost))
    loaded: dict[str, Any] = json.loads(figures.read_text())
    return loaded


def main() -> None:
    """Measure what is not there yet, and print a line a level."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a Parquet file of pictures, as MNIST's training part")
    parser.add_argument("--out", type=Path, required=True, help="a folder for contributions and figures")
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--regions", type=int, default=10)
    parser.add_argument("--steps", type=float, default=0.1, help="share of the server's usual steps and samples")
    parser.add_argument("--teacher", default="meta", help="as distill.teacher; class_balanced needs no training")
    words = parser.parse_args()
    out = words.out.resolve()
    (out / "contributions").mkdir(parents=True, exist_ok=True)
    contribute_all(out, words.data, words.clients)
    clients = sorted((out / "contributions").glob("*.contribution"))[: words.clients]
    place = out / f"regions-{words.clients}-{words.regions}-{words.steps:g}-{words.teacher}"
    place.mkdir(exist_ok=True)
    settings = words_of(words.steps, words.teacher)
    size = -(-len(clients) // words.regions)
    groups = [clients[at : at + size] for at in range(0, len(clients), size)]
    regions = [distilled(group, place / f"region-{k}", settings, k) for k, group in enumerate(groups)]
    parts = [place / f"region-{k}.contribution" for k in range(len(groups))]
    country = distilled(parts, place / "country", settings, None)
    flat = distilled(clients, place / "flat", settings, None)
    print("| | contributions | MB read | processor, s | peak, MiB |\n|---|---|---|---|---|")
    largest = max(regions, key=lambda figures: float(figures["seconds"]))
    for name, count, figures in (
        (f"a region, the longest of {len(groups)}", size, largest),
        ("the country, of its regions", len(groups), country),
        ("all at once", len(clients), flat),
    ):
        seconds, memory = figures["seconds"], figures["memory"]
        print(f"| {name} | {count} | {figures['read'] / 1e6:.1f} | {seconds:.0f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
