"""Runs and a comparison that tests of pages make up."""

import json
from pathlib import Path

from mosaic_fl.comparison.cells import CellResult
from mosaic_fl.comparison.grid import CENTRALISED, Cell, Grid, Setting
from mosaic_fl.comparison.table import blocks, to_json
from mosaic_fl.config.toml import to_toml
from mosaic_fl.report.page.facts import Facts

EVIL = '<script>alert("x")</script>'
GRID = Grid(
    ["mosaic", "fedavg", CENTRALISED], [2], [0.1], ["equal", "mixed"], [1], [0, 1, 2], values={"data.image_size": 8}
)


def facts(folder: str = "run", **result: object) -> Facts:
    """A run with these figures beside its least ones."""
    return Facts(folder, {"method": "mosaic", "models": ["cnn:4"], "seconds": {"total": 3.0}, **result}, "", {}, {})


def crowd(clients: int, classes: int) -> Facts:
    """A run of many clients and classes, with every figure that a page shows."""
    names = [f"class {c}" for c in range(classes)]
    row = [0.5] * classes
    counts = [[3] * classes] * clients
    audit = {
        "attack": "lira", "on": "expert", "auc": 0.55, "low": 0.5, "high": 0.62, "limit": 0.6, "members": 9,
        "strangers": 9, "basis": "its own", "accepted": "",
    }  # fmt: skip
    detail = {
        "samples": 1000,
        "classes": names,
        **({"confusion": [[1] * classes] * classes} if classes <= 100 else {}),
        "calibration": [[10, 0.1, 0.2]] * 15,
        "calibration_error": 0.1,
        "abstain": [[k / 20, 0.9] for k in range(1, 21)],
        "recall_by_model": {"teacher": row, "local": [row] * clients},
        "split": {"clients": list(range(clients)), "counts": counts, "noisy": False},
        "listening": {"teacher": "gate", "how": "gate", "clients": list(range(clients)), "by_class": [row] * clients},
        "without": {
            "teacher": "gate", "samples": 1000, "accuracy": 0.9,
            "clients": [{"client": k, "accuracy": 0.8, "mends": 120, "spoils": 20} for k in range(clients)],
        },
    }  # fmt: skip
    recalls = [{"classes": [c], "samples": 9, "recall": 0.5} for c in range(classes - 1)]
    recalls.append({"classes": [classes - 1], "samples": 9, "recall": 0.25})
    model = {"digest": "", "accuracy": 0.5, "low": 0.4, "high": 0.6, "recall": recalls, "ece": 0.1, "auroc": None}
    models = [
        {**model, "model": "global", "gain": {"points": 3.0, "low": -1.0, "high": 7.0}},
        {**model, "model": "own", "gain": None, "recall": [{**group, "recall": 0.75} for group in recalls]},
    ]
    sites = [{"client": k, "samples": 9 * classes, "least": 5, "why": None, "models": models} for k in range(clients)]
    values = {
        "cross_site": {"classes": names, "sites": sites},
        "models": ["cnn:4"] * clients,
        "samples": [100] * clients,
        "accuracy": 0.9,
        "local_accuracy": [0.5] * clients,
        "recall": row,
        "taking_part": {"test": {"gain": clients, "lose": 0, "same": 0, "unknown": 0, "points": [40.0] * clients}},
        "own_data": [{"samples": 9, "alone": 0.9, "together": 0.8}] * clients,
        "bytes_up": [1000] * clients,
        "bytes_down": [1000] * clients,
        "audit": [{"client": k, **audit} for k in range(clients)],
        "detail": detail,
    }
    return facts("crowd", **values)


def grid_results() -> dict[Cell, CellResult]:
    """Two methods and a reference in two settings, of which one is not possible for a method."""
    told = dict[Cell, CellResult]()
    for seed, (ours, theirs) in enumerate([(0.90, 0.80), (0.94, 0.81), (0.92, 0.82)]):
        equal = Setting(2, 0.1, "equal", seed)
        told[Cell(equal, "mosaic", 1)] = CellResult("done", "", ours, 1, 2e6, 5e5, 3.0, 120.4, 9.0)
        told[Cell(equal, "fedavg", 1)] = CellResult("done", "", theirs, 1, 4e6, 5e5, 3.0, 20.0, 9.0)
        told[Cell(Setting(2, 0.1, "mixed", seed), "fedavg", 1)] = CellResult("cannot", f"needs equal {EVIL}")
    told[Cell(Setting(2, 0.1, "equal", 0), CENTRALISED, 1)] = CellResult(
        "done", "", 0.99, 1, server_seconds=4.0, seconds=4.0
    )
    return told


def grid_folder(place: Path) -> Path:
    """The folder of a comparison with these results, in the folder `place`."""
    folder = place / "compare"
    folder.mkdir()
    marker = {"mosaic_fl": "1", "command": "compare", "inputs": "ab12", "options": {**GRID.options(), "metric": "auto"}}
    (folder / "inputs.json").write_text(json.dumps(marker))
    (folder / "config.toml").write_text(to_toml(GRID.base()))
    about = {"test_samples": {"0": 100, "1": 100, "2": 100}, "versions": {"torch": "2.13"}}
    (folder / "table.json").write_text(to_json(blocks(GRID, grid_results()), grid_results(), about))
    return folder
