"""Runs as a table: medians, and ratios against the loop by hand."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from experiment import Experiment

FLOOR = "floor"
NAMES = {
    "floor": "loop by hand",
    "floor-threads": "loop by hand, torch's own threads",
    "ours-1": "mosaic, 1 worker",
    "ours-2": "mosaic, 2 workers",
    "flower": "Flower's simulation (Ray), an actor a core",
    "fluke": "fluke",
    "fluke-threads": "fluke, torch's own threads",
    "pfl": "pfl-research",
    "pfl-threads": "pfl-research, torch's own threads",
}


def table(runs: Sequence[Mapping[str, Any]], skipped: Mapping[str, str], experiment: Experiment, images: int) -> str:
    """Markdown: a way a line, in the order of `NAMES`; `skipped` says why a way has no figures."""
    a_client = images // experiment.clients
    about = f"{experiment.clients} clients × {experiment.rounds} rounds, {a_client} images each, batches of "
    lines = [f"FedAvg, {about}{experiment.batch}, SGD {experiment.lr:g}; medians, with the least and the most", ""]
    lines += ["| | wall, s | × loop | processors, s | × loop | peak, MB | × loop | accuracy, % | steps | runs |"]
    lines += ["|---|" + "---:|" * 9]
    floor = {figure: medians(runs, FLOOR, figure) for figure in ("wall", "cpu", "peak")}
    for way, name in NAMES.items():
        own = [run for run in runs if run["way"] == way]
        if not own:
            lines += [f"| {name} | skipped: {skipped[way]} |" + " |" * 8] if way in skipped else []
            continue
        cells = list[str]()
        for figure, unit in (("wall", 1.0), ("cpu", 1.0), ("peak", 1e6)):
            values = [run[figure] / unit for run in own]
            ratio = f"{median(values) * unit / floor[figure]:.2f}" if floor[figure] else "–"
            digits = 0 if figure == "peak" else 1
            cells += [f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})", ratio]
        cells += [f"{100 * median(run['accuracy'] for run in own):.1f}"]
        cells += [", ".join(sorted({str(run["steps"]) for run in own})), str(len(own))]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    packages = {f"{package} {version}" for run in runs for package, version in run["versions"].items()}
    return "\n".join([*lines, "", ", ".join(sorted(packages)), ""])


def medians(runs: Sequence[Mapping[str, Any]], way: str, figure: str) -> float:
    """The median of a figure over a way's runs; 0 without."""
    values = [run[figure] for run in runs if run["way"] == way]
    return median(values) if values else 0.0
