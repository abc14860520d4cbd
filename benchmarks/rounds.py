"""What a round of FedAvg costs besides its training: small networks, short local steps, several source trees in turn.

    python benchmarks/rounds.py OLD_TREE NEW_TREE --repeats 3

A tree is a checkout of this repository. Each repeat runs every tree once, so that a busy moment hits all of them; the
figures are medians of the processor's time, which others on the machine disturb less than the clock.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

SHORT, LONG = 5, 65  # rounds: their difference leaves out what a run costs once
DATA = ["--data", "digits", "--clients", "5", "--models", "cnn:8:2"]
STEPS = ["--set", "train.max_steps=5", "--set", "train.min_steps=5", "--set", "rounds.steps=5"]
WORDS = ["run", "--method", "fedavg", "--workers", "1", "--force", *DATA, *STEPS]


def seconds(tree: Path, rounds: int, out: Path) -> float:
    """Processor seconds of a run of so many rounds by the code in `tree`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree / "src")}
    program = [sys.executable, "-c", "from mosaic_fl.cli.main import main; main()"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [*program, *WORDS, "--rounds", str(rounds), "--out", str(out)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a table: a tree a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    costs: dict[Path, list[float]] = {tree.resolve(): [] for tree in arguments.trees}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.repeats):
            for tree, measured in costs.items():
                short = seconds(tree, SHORT, Path(folder) / "run")
                long = seconds(tree, LONG, Path(folder) / "run")
                measured.append(1000 * (long - short) / (LONG - SHORT))
    print("| tree | a round of 5 clients, ms of one core | all repeats |\n|---|---|---|")
    for tree, measured in costs.items():
        print(f"| {tree.name} | {median(measured):.1f} | {', '.join(f'{each:.1f}' for each in measured)} |")


if __name__ == "__main__":
    main()
