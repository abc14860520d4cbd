"""FedAvg side by side: a loop by hand (the floor), mosaic with 1 and 2 workers, Flower's simulation, fluke and pfl.

    python benchmarks/peers --data ../shared/data/mnist [--clients 100] [--repeats 3] [--ways floor,ours-1]

The same network, images, batches, learning rate and number of steps. `--data X` are `X-train.parquet` and
`X-test.parquet`. Each framework has an environment of its own in build/peers, made once. Each run is a line in
OUT/runs.jsonl, and what is there is not run again; OUT/table-CLIENTS.md compares medians. Repeats go round all ways, so
that a busy moment hits all of them. docs/notes/peers.md says what is not alike.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from environments import NotInstalledError
from experiment import Experiment
from subset import draw
from table import table
from ways import WAYS, run


def main() -> None:
    """Run what is not there yet, then compare."""
    words = arguments()
    out = Path(words.out)
    out.mkdir(parents=True, exist_ok=True)
    train, test = draw(words.data, words.images, words.test_images)
    experiment = Experiment(train, test, words.clients, words.rounds, words.batch, words.lr, words.seed)
    ways = words.ways.split(",")
    if unknown := [way for way in ways if way not in WAYS]:
        sys.exit(f"--ways {unknown[0]}: it is one of {', '.join(WAYS)}")
    skipped = dict[str, str]()
    log = out / "runs.jsonl"
    for repeat in range(words.repeats):
        for name in ways:
            key = {"way": name, "repeat": repeat, "experiment": " ".join(experiment.words())}
            if name in skipped or key in [{part: run[part] for part in key} for run in read(log)]:
                continue
            try:
                figures = run(name, experiment, out)
            except (NotInstalledError, RuntimeError) as reason:
                skipped[name] = str(reason)
                print(f"{name}: skipped: {reason}", flush=True)
                continue
            with log.open("a") as lines:
                lines.write(json.dumps(key | figures) + "\n")
            print(f"{repeat} {name}: {figures['wall']:.1f} s, {figures['cpu']:.1f} s of processors", flush=True)
    runs = [each for each in read(log) if each["experiment"] == " ".join(experiment.words())]
    text = table(runs, skipped, experiment, words.images)
    (out / f"table-{experiment.clients}.md").write_text(text)
    print(text)


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="X of X-train.parquet and X-test.parquet: images of 10 digits")
    parser.add_argument("--ways", default=",".join(WAYS), help="which, with commas")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--images", type=int, default=16_000, help="training images of all clients")
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="benchmarks/out/peers")
    words = parser.parse_args()
    if words.images % (words.clients * words.batch):
        parser.error(f"--images {words.images}: a multiple of clients × batch = {words.clients * words.batch}")
    return words


def read(log: Path) -> list[dict[str, Any]]:
    """All runs so far."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


if __name__ == "__main__":
    main()
