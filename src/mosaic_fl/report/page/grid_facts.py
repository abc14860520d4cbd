"""What a report says of a comparison: the tables of its settings, with the results of every cell."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosaic_fl.comparison.interval import estimate
from mosaic_fl.comparison.reading import TABLE, read_comparison
from mosaic_fl.config import Config
from mosaic_fl.config.toml import from_toml
from mosaic_fl.errors import UsageError
from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.report.page.charts import Score
from mosaic_fl.runs.folder import read_marker
from mosaic_fl.storage.files import read_bytes, read_if_there

MOST_SETTINGS = 60  # that have a part of their own
METRICS = {"accuracy": "Accuracy", "auroc": "AUROC", "balanced_accuracy": "Balanced accuracy"}
AXIS_OPTIONS = ("methods", "clients", "alpha", "architectures", "rounds", "seeds")
OPTIONS = frozenset(
    {"data.name", "models.clients", "models.student", "run.method", "run.seed", "partition.clients", "partition.alpha"}
)
"""Settings for which the command has options, or that differ from cell to cell."""
AXES = ("clients", "split", "alpha", "architectures", "table_rounds")


@dataclass(frozen=True)
class SettingFacts:
    """One setting: its `title`, the `rows` of its methods as in `table.csv`, and its `cells` by method.

    `tests` are the numbers of test samples by seed, where they are told.
    """

    title: str
    rows: Sequence[Mapping[str, Any]]
    cells: Mapping[str, Sequence[Mapping[str, Any]]]
    tests: Mapping[str, int] = field(default_factory=dict)

    @property
    def against(self) -> str:
        """The method with which the others are compared; empty without one."""
        return next((row["against"] for row in self.rows if row.get("against")), "")

    @property
    def has_quality(self) -> bool:
        """Whether a method has figures beside the accuracy."""
        return any(row.get("log_loss") is not None for row in self.rows)

    @property
    def missing(self) -> list[tuple[str, str]]:
        """(method, why figures of it are missing)."""
        return [(row["method"], row["note"]) for row in self.rows if row.get("note")]

    def scores(self, metric: str = "accuracy") -> list[Score]:
        """The mean of each method over its seeds, each seed, and the 95 % interval of the mean.

        It is Student's t over the seeds; of one seed that of Wilson for its test samples, where their number is told.
        """
        return [score for row in self.rows if (score := self._score(row, metric)) is not None]

    def _score(self, row: Mapping[str, Any], metric: str) -> Score | None:
        cells = [(c, value) for c in self.cells.get(row["method"], ()) if (value := _figure(c, metric)) is not None]
        if not cells:
            return None
        values = [value for _, value in cells]
        whole = estimate([("", value) for value in values], 0.0, 1.0)
        assert whole is not None
        low = whole.mean if whole.low is None else whole.low
        high = whole.mean if whole.high is None else whole.high
        samples = self.tests.get(str(cells[0][0]["seed"]))
        if len(values) == 1 and samples and metric == "accuracy":
            low, high = wilson(values[0], samples)
        seeds = f"; {len(values)} seed{'s' * (len(values) != 1)}"
        is_reference = row["kind"] == "reference"
        return Score(row["method"], whole.mean, low, high, own=is_reference, about=seeds, each=tuple(values))

    @property
    def costs(self) -> list[tuple[str, float, float]]:
        """(method, megabytes from a client, accuracy) of methods that send something."""
        rows = [row for row in self.rows if row.get("megabytes_up") and row.get("accuracy") is not None]
        return [(row["method"], row["megabytes_up"], row["accuracy"] / 100) for row in rows]


@dataclass(frozen=True)
class GridFacts:
    """A comparison: its `folder`, its `data`, its `settings`, the marker's `options` and `hashes`, its configuration.

    `models` are options that name architectures, and `changed` the settings of all methods that are not as by default.
    """

    folder: str
    data: str
    settings: Sequence[SettingFacts]
    options: Mapping[str, str]
    hashes: Mapping[str, str]
    configuration: str
    pending: int
    total: int
    encoder: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, str] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """The methods in the order of their mean over the settings that have them, references last."""
        sums = dict[str, list[float]]()
        references = {row["method"] for setting in self.settings for row in setting.rows if row["kind"] == "reference"}
        for setting in self.settings:
            for row in setting.rows:
                sums.setdefault(row["method"], []).extend([] if row["accuracy"] is None else [row["accuracy"]])
        means = {name: sum(values) / len(values) if values else -1.0 for name, values in sums.items()}
        return sorted(means, key=lambda name: (name in references, -means[name]))

    @property
    def glance(self) -> list[tuple[str, list[float | None]]]:
        """The mean accuracy 0..1 of each method in each setting."""
        by_setting = [{row["method"]: row["accuracy"] for row in setting.rows} for setting in self.settings]
        shares = [{name: None if v is None else v / 100 for name, v in row.items()} for row in by_setting]
        return [(name, [row.get(name) for row in shares]) for name in self.methods]

    @property
    def lead(self) -> str:
        """The short of it."""
        count = len(self.settings)
        done = self.total - self.pending
        words = [
            f"{len(self.methods)} methods on {self.data}, in {count} setting{'s' * (count != 1)}: the same clients, "
            f"data, models, budgets and seeds for all. {done:,} of {self.total:,} cells have ended."
        ]
        words += _best(self.settings[0]) if count == 1 else []
        return " ".join(words)

    @property
    def seconds(self) -> float:
        """Seconds of all cells together."""
        cells = [cell for setting in self.settings for rows in setting.cells.values() for cell in rows]
        return float(sum(cell.get("seconds") or 0.0 for cell in cells))

    @property
    def command(self) -> str:
        """The command that makes the comparison again."""
        axes = {name: value for name, value in self.options.items() if name in AXIS_OPTIONS}
        own = {name[4:]: value for name, value in self.options.items() if name.startswith("set ")}
        named = {"data": self.data, **axes, **self.models}
        words = [word for name, value in named.items() for word in (f"--{name}", value)]
        words += [w for name, value in {**self.changed, **own}.items() for w in ("--set", f"{name}={value}")]
        return shlex.join(["mosaic", "compare", *words, "--out", "again"])


def read_grid(folder: Path) -> GridFacts:
    """The facts of the comparison in `folder`; raises UsageError where it holds none, or no cell has a result."""
    comparison = read_comparison(folder)
    content = json.loads(read_bytes(folder / TABLE))
    marker = read_marker(folder) or {}
    tests = {str(seed): int(n) for seed, n in (content.get("test_samples") or {}).items()}
    versions = content.get("versions") or {"mosaic-fl": marker.get("mosaic_fl", "unknown")}
    hashes = {str(name): str(value) for name, value in versions.items()}
    encoder = content.get("encoder") or {}
    return GridFacts(
        folder.name,
        comparison.data,
        list(_settings(content, tests))[:MOST_SETTINGS],
        {str(name): str(value) for name, value in (marker.get("options") or {}).items()},
        hashes | ({"data (SHA-256)": comparison.inputs} if comparison.inputs else {}),
        (read_if_there(folder / "config.toml") or b"").decode("utf-8", "replace"),
        comparison.pending,
        comparison.total,
        str(encoder.get("name", "")) if isinstance(encoder, dict) else "",
        *_own_settings(folder / "config.toml"),
    )


def _own_settings(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(architectures by option, settings that are not as by default); empty for a file of another version."""
    try:
        config = from_toml(path)
    except UsageError:
        return {}, {}
    usual = Config().model_dump()
    changed = {
        f"{section}.{key}": value
        for section, values in config.model_dump().items()
        for key, value in values.items()
        if value != usual[section][key] and f"{section}.{key}" not in OPTIONS
    }
    models = {"models": ",".join(config.models.clients), "student": config.models.student}
    return {k: v for k, v in models.items() if v}, {key: _setting(value) for key, value in changed.items()}


def _setting(value: Any) -> str:
    """A value as --set takes it."""
    if isinstance(value, tuple | list):
        return json.dumps(list(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _settings(content: Mapping[str, Any], tests: Mapping[str, int]) -> Iterator[SettingFacts]:
    rows = dict[tuple[Any, ...], list[Mapping[str, Any]]]()
    for row in content["tables"]:
        rows.setdefault(tuple(row.get(axis) for axis in AXES), []).append(row)
    for (clients, split, alpha, kind, rounds), of_setting in rows.items():
        cells = {row["method"]: [c for c in content["cells"] if _is_of(c, row)] for row in of_setting}
        spread = f"α = {alpha:g}" if alpha is not None else str(split)
        many = f"{rounds} round{'s' * (rounds != 1)}"
        yield SettingFacts(f"{clients} clients · {spread} · {kind} architectures · {many}", of_setting, cells, tests)


def _is_of(cell: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    same = all(cell[key] == row[key] for key in ("clients", "architectures", "method", "rounds"))
    return same and (row.get("alpha") is None or cell["alpha"] == row["alpha"])


def _figure(cell: Mapping[str, Any], metric: str) -> float | None:
    """A cell's metric as a share; None where it has none."""
    value = cell.get("accuracy") if metric == "accuracy" else (cell.get("quality") or {}).get(metric)
    return None if value is None else float(value)


def _best(setting: SettingFacts) -> list[str]:
    """A sentence about the best method of a setting that is no reference."""
    rivals = [row for row in setting.rows if row["kind"] == "method" and row["accuracy"] is not None]
    if not rivals:
        return []
    best = max(rivals, key=lambda row: row["accuracy"])
    return [
        f"The best of those that need no real data beyond the sites is {best['method']}, with {best['accuracy']:.1f} %."
    ]
