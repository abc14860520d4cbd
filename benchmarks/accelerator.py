"""What an accelerator brings: correctness, speed, and the whole of Mosaic on CIFAR-10; one JSON and one table.

    python benchmarks/accelerator.py --data ../shared/data/cifar10 [--part a,b,c,d] [--out benchmarks/out/accelerator]

(a) each path of the device against the CPU; (b) images a second for 10 clients with ResNet-18, a plain loop and ours,
as a share of the device's matrix limit; (c) Mosaic with 5 clients; (d) generators `cvae` and `flow`. Each part is a
process with a limit of its own and writes PART.json as it goes; a part that is done is not run again without --again.
All limits together are 9 minutes. `--tiny` tries all of it on a CPU within a minute; its figures mean nothing.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LIMITS = {"a": 80, "b": 100, "c": 140, "d": 220}  # seconds
CLIENTS = 10  # of part (b)


def main() -> None:
    """Run the parts that are wanted, then write `accelerator.json` and `accelerator.md`."""
    words = arguments()
    out = Path(words.out)
    out.mkdir(parents=True, exist_ok=True)
    if words.inside:
        work(words.inside, words, out)
        return
    for part in words.part.split(","):
        earlier = read(out, part)
        if not words.again and earlier.get("done") and earlier.get("tiny", False) == words.tiny:
            continue
        limit = words.limit or LIMITS[part]
        print(f"part {part}, at most {limit} s", flush=True)
        start = time.perf_counter()
        try:
            command = [sys.executable, __file__, *sys.argv[1:], "--inside", part]
            code = subprocess.run(command, timeout=limit, check=False).returncode
            state = "whole" if code == 0 else f"ended with {code}"
        except subprocess.TimeoutExpired:
            state = f"stopped after {limit} s"
        write(out, part, {**read(out, part), "state": state, "seconds": round(time.perf_counter() - start, 1)})
    figures = {part: read(out, part) for part in LIMITS if (out / f"{part}.json").exists()}
    (out / "accelerator.json").write_text(json.dumps(figures, indent=1))
    (out / "accelerator.md").write_text(table(figures))
    print(table(figures))


def arguments() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data/cifar10", help="CIFAR-10, as for mosaic run --data")
    parser.add_argument("--part", default="a,b,c,d", help="which parts, with commas")
    parser.add_argument("--out", default="benchmarks/out/accelerator")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--limit", type=float, default=0, help="seconds of each part instead of its own limit")
    parser.add_argument("--again", action="store_true", help="also the parts that are done")
    parser.add_argument("--tiny", action="store_true", help="random images and few steps: whether it runs at all")
    parser.add_argument("--inside", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def work(part: str, words: argparse.Namespace, out: Path) -> None:
    """One part, in this process; its figures go to its file as they come."""
    import torch

    from mosaic_fl.numerics.devices import find_device

    device = find_device(words.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    about = {"device": name, "torch": torch.__version__, "tiny": words.tiny, "done": False}

    def keep(figures: dict[str, Any], *, done: bool = False) -> None:
        write(out, part, {**about, **figures, "done": done})

    keep({})
    torch.set_num_threads(1)
    if part == "a":
        from accelerator_parity import compare as check

        figures = check(device, tiny=words.tiny, keep=keep)
    elif part == "b":
        from accelerator_speed import compare as clock

        figures = clock(device, shards(words), tiny=words.tiny, keep=keep)
    else:
        from accelerator_mosaic import federations

        figures = federations(part, device, splits(words), keep, tiny=words.tiny)
    keep(figures, done=True)


def splits(words: argparse.Namespace) -> Any:
    """CIFAR-10, or random images of its size; decoded once for all parts of a machine."""
    import tempfile

    import torch

    from mosaic_fl.config import Config
    from mosaic_fl.data.sources import load
    from mosaic_fl.domains.dataset import Splits, image_dataset

    if words.tiny:
        from accelerator_parity import SIDE, random_images

        return Splits("random", random_images(400, SIDE[True]), random_images(100, SIDE[True]))
    decoded = Path(tempfile.gettempdir()) / f"accelerator-{Path(words.data).name}.pt"
    if not decoded.exists():
        data = load(Config().with_values({"data.name": words.data}).data, 0)
        torch.save([tensor for part in (data.train, data.test) for tensor in (part.images, part.labels)], decoded)
        return data
    from mosaic_fl.domains.image.schema import image_schema

    schema = image_schema((3, 32, 32), tuple(map(str, range(10))))
    images, labels, test_images, test_labels = torch.load(decoded, weights_only=True)
    return Splits("cifar10", image_dataset(images, labels, schema), image_dataset(test_images, test_labels, schema))


def shards(words: argparse.Namespace) -> list[Any]:
    """The training images of the clients of part (b), equally many each."""
    from mosaic_fl.config import Config
    from mosaic_fl.data.partition import partition

    clients = 2 if words.tiny else CLIENTS
    settings = Config().with_values({"partition.split": "iid", "partition.clients": clients}).partition
    return partition(splits(words).train, settings, 0)


def read(out: Path, part: str) -> dict[str, Any]:
    """The figures of a part so far."""
    path = out / f"{part}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write(out: Path, part: str, figures: dict[str, Any]) -> None:
    """Replace the figures of a part as a whole: its process may be killed at any time."""
    path = out / f"{part}.json"
    path.with_suffix(".half").write_text(json.dumps(figures, indent=1))
    path.with_suffix(".half").replace(path)


def table(figures: dict[str, Any]) -> str:
    """All parts as Markdown."""
    lines = list[str]()
    for part, values in figures.items():
        about = f"{values.get('device')}, torch {values.get('torch')}, {values.get('seconds')} s, {values.get('state')}"
        lines += [f"## Part {part} ({about})", ""]
        lines += {"a": parity_lines, "b": speed_lines}.get(part, mosaic_lines)(values)
        lines += [""]
    return "\n".join(lines)


def parity_lines(values: dict[str, Any]) -> list[str]:
    """Part (a)."""
    lines = ["| path | way | relative error | tolerance | |", "|---|---|---:|---:|---|"]
    for row in values.get("rows", []):
        error = row.get("fault") or f"{row['error']:.1e}"
        lines.append(
            f"| {row['path']} | {row['way']} | {error} | {row['tolerance']} | {'ok' if row['ok'] else '**no**'} |"
        )
    return lines


def speed_lines(values: dict[str, Any]) -> list[str]:
    """Part (b)."""
    head = f"{values.get('model')}, {values.get('clients')} clients one after the other; matrix limit "
    lines = [f"{head}{values.get('matrix_limit', 0) / 1e12:.0f} TFLOP/s (8192³, bfloat16)", ""]
    lines += [
        "| batch | way | images/s | with start | share of the limit | × float32 |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    plain = dict[int, float]()
    for row in values.get("rows", []):
        if "fault" in row:
            lines.append(f"| {row['batch']} | {row['way']} | {row['fault']} | | | |")
            continue
        plain.setdefault(row["batch"], row["images_a_second"])
        speeds = f"{row['images_a_second']:,.0f} | {row['with_start']:,.0f} | {100 * row['share_of_limit']:.1f} %"
        ratio = row["images_a_second"] / plain[row["batch"]]
        lines.append(f"| {row['batch']} | {row['way']} | {speeds} | {ratio:.1f} |")
    return lines


def mosaic_lines(values: dict[str, Any]) -> list[str]:
    """Parts (c) and (d)."""
    lines = [
        "| run | student | teacher | best ensemble | best local | seconds | of which |",
        "|---|" + "---:|" * 5 + "---|",
    ]
    for row in values.get("rows", []):
        if "fault" in row:
            lines.append(f"| {row['name']} | {row['fault']} | | | | {row['seconds']:.0f} | |")
            continue
        names = ("ensemble_accuracy", "mean_probability_accuracy", "class_weighted_accuracy")
        best = max(row.get(name) or 0 for name in names)
        shares = (row["accuracy"], row["teacher_accuracy"], best, max(x or 0 for x in row["local_accuracy"]))
        stages = sorted(row["stage_seconds"].items(), key=lambda item: -item[1])
        longest = ", ".join(f"{name} {seconds:.0f}" for name, seconds in stages if name != "total" and seconds >= 0.5)
        cells = " | ".join(f"{100 * share:.1f} %" if share is not None else "–" for share in shares)
        lines.append(f"| {row['name']} | {cells} | {row['seconds']:.0f} | {longest} |")
    if values.get("running"):
        lines += ["", f"Stopped within {values['running']['name']}: {json.dumps(values['running']['stages'])}"]
    return lines


if __name__ == "__main__":
    main()
