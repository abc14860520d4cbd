"""The demo's figures: accuracy over seeds 0 to 4, wall time, memory, and the same result with one worker as with two.

    python benchmarks/demo.py [--seeds 0,1,2,3,4] [--out benchmarks/out/demo] [--save]

Every run is the demo's command in a process of its own; finished runs are not repeated. --save writes the figures to
benchmarks/results/demo.toml, from which `make results` makes RESULTS.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from result_files import save


def run(out: Path, seed: int, workers: int) -> dict:
    """One run of the demo, its result with `wall` seconds and `peak_mib` of memory of all its processes together."""
    kept = out / f"seed-{seed}-workers-{workers}"
    figures = kept / "measured.json"
    if not figures.exists():
        words = [
            "run",
            "--centralised",
            "--seed",
            str(seed),
            "--workers",
            str(workers),
            "--out",
            str(kept),
            "--force",
        ]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "mosaic_fl.cli.main", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.1)
        assert process.returncode == 0, f"mosaic {' '.join(words)} failed"
        figures.write_text(json.dumps({"wall": time.perf_counter() - start, "peak_mib": peak}))
    result = json.loads((kept / "result.json").read_text())
    return result | json.loads(figures.read_text())


def memory(root: int) -> float:
    """MiB held by a process and its children; shared pages are counted once (PSS)."""
    total = 0
    for pid in [root, *_children(root)]:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue
    return total / 1024


def _children(pid: int) -> list[int]:
    try:
        return [
            int(c)
            for t in os.listdir(f"/proc/{pid}/task")
            for c in Path(f"/proc/{pid}/task/{t}/children").read_text().split()
        ]
    except OSError:
        return []


def main() -> None:
    """Run what is missing, then print the table and each target beside what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/demo"))
    parser.add_argument("--save", action="store_true", help="write the figures to benchmarks/results/demo.toml")
    options = parser.parse_args()
    if options.save and options.seeds != parser.get_default("seeds"):
        parser.error("--save is for all five seeds: leave --seeds out")
    runs = [run(options.out, int(seed), 2) for seed in options.seeds.split(",")]
    names = {
        "the best site's model": lambda r: 100 * max(r["local_accuracy"]),
        "mean-logit ensemble": lambda r: 100 * r["ensemble_accuracy"],
        "mean-probability ensemble": lambda r: 100 * r["mean_probability_accuracy"],
        "class-weighted ensemble": lambda r: 100 * r["class_weighted_accuracy"],
        "meta-model teacher": lambda r: 100 * r["teacher_accuracy"],
        "student (the one model)": lambda r: 100 * r["accuracy"],
        "pooled data (the ceiling)": lambda r: 100 * r["centralised_accuracy"],
        "seconds": lambda r: r["wall"],
        "peak memory, MiB": lambda r: r["peak_mib"],
    }
    print("| | " + " | ".join(f"seed {r['seed']}" for r in runs) + " | mean ± std |")
    print("|---" * (len(runs) + 2) + "|")
    rows = [[name, [figure(r) for r in runs]] for name, figure in names.items()]
    means = {name: statistics.fmean(values) for name, values in rows}
    for name, values in rows:
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"| {name} | " + " | ".join(f"{v:.1f}" for v in values) + f" | {means[name]:.1f} ± {spread:.1f} |")
    one = run(options.out, int(options.seeds.split(",")[0]), 1)
    same = all(one[k] == runs[0][k] for k in one if k not in ("seconds", "wall", "peak_mib"))
    student = means["student (the one model)"]
    print(
        f"\nstudent {student:.2f} (target 97.0), "
        f"{means['pooled data (the ceiling)'] - student:.2f} under the ceiling (2.5), "
        f"{student - means['mean-logit ensemble']:.1f} over mean logits (20)"
    )
    print(f"slowest {max(r['wall'] for r in runs):.0f} s (60), peak {max(r['peak_mib'] for r in runs):.0f} MiB (1536)")
    print(f"1 worker and 2 workers give the same figures: {same}")
    if options.save:
        save("demo", rows, {"same figures with 1 worker and with 2": "yes" if same else "no"})


if __name__ == "__main__":
    main()
