"""Reads the folder of a comparison back: its data, its settings and the result of every cell. Takes no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mosaic_fl.comparison.summary import Entry, Point
from mosaic_fl.config import Config
from mosaic_fl.config.toml import read_toml
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.runs.folder import MARKER
from mosaic_fl.storage import received_json
from mosaic_fl.storage.files import path_text, read_if_there, require_path

TABLE = "table.json"
SETTINGS = "config.toml"
FILES = (MARKER, SETTINGS, TABLE)
"""What is read of a folder."""
MAX_NAME = 200  # characters of a method's name, a data set's or a reason
DATA_SETTINGS = ("max_train", "max_test", "image_size", "channels", "fit", "pixel_range")
"""Settings that make other data of the same data set; the hash of all data shows them too."""
SPLIT_SETTINGS = (
    "run.attack",
    "data.validation",
    "partition.min_samples",
    "partition.classes_per_client",
    "partition.noise",
)
"""Settings that change what a client holds, beside the axes of a comparison. No hash shows them."""


def _require_name(text: str) -> str:
    if not text.isprintable():
        raise ValueError("characters that cannot be printed")
    return text


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_require_name)]
Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Marker(_Strict):
    mosaic_fl: str
    command: Name = "run"
    inputs: str = ""
    options: dict[str, Any] = {}


class _Row(_Strict):
    """A method at a point, in one of the tables."""

    clients: Count
    split: Name | None = None
    alpha: float | None
    architectures: Name
    table_rounds: Count
    method: Name
    kind: Literal["method", "real data", "reference"]
    rounds: Count
    caveat: str = ""


class _Cell(_Strict):
    """One run."""

    clients: Count
    alpha: float
    architectures: str
    seed: int
    method: str
    rounds: int
    status: Literal["done", "failed", "cannot"]
    reason: str = ""
    accuracy: Annotated[float, Field(ge=0, le=1)] | None


class _Table(_Strict):
    tables: list[_Row]
    cells: list[_Cell]


Content = TypeVar("Content", bound=_Strict)


@dataclass(frozen=True)
class Comparison:
    """The content of a comparison's `folder`.

    `inputs` is the hash of its data for its `seeds`, the text of the option. `data` is the name of its data set and
    `conditions` its unusual data settings. `entries` are its methods at each point; the points' `data` and `conditions`
    do not yet regard other folders. `pending` is the number of cells that have not run, of `total`.
    """

    folder: Path
    data: str
    inputs: str
    seeds: str
    conditions: str
    split_conditions: str
    entries: Mapping[Point, Mapping[str, Entry]] = field(repr=False)
    pending: int
    total: int


def read_comparison(folder: Path) -> Comparison:
    """The comparison in `folder`.

    Raises UsageError that names the folder or file where it is no comparison, where no cell has a result yet, or where
    a file is missing, too large or damaged.
    """
    require_path(folder)
    name = path_text(folder)
    marker = _content(folder / MARKER, _Marker, "name what --out of mosaic compare was")
    if marker is None:
        what = "not the folder of a comparison" if folder.is_dir() else "no folder"
        raise UsageError(f"{name} is {what}: name what --out of mosaic compare was")
    if marker.command != "compare":
        raise UsageError(f"{name} is the folder of mosaic {marker.command}: name what --out of mosaic compare was")
    table = _content(folder / TABLE, _Table, "the same command with --resume writes it again")
    if table is None or not any(cell.accuracy is not None for cell in table.cells):
        raise UsageError(f"{name}: no cell has a result yet; mosaic compare with --resume goes on with it")
    settings = _settings(folder / SETTINGS)
    seeds = str(marker.options.get("seeds", ""))
    # A comparison that was stopped lacks cells: the option says how many there will be.
    seed_count = seeds.count(",") + 1 if seeds else len({cell.seed for cell in table.cells})
    split = settings["partition.split"]
    data_name = settings["data.name"]
    conditions = _unusual(settings, tuple(f"data.{key}" for key in DATA_SETTINGS))
    split_conditions = _unusual(settings, SPLIT_SETTINGS)
    runs = _runs(folder, table)
    entries = dict[Point, dict[str, Entry]]()
    keys = set[tuple[Any, ...]]()
    for row in table.tables:
        usual = (row.split or split) == Config().partition.split
        point = Point(
            data_name, "", row.clients, "" if usual else row.split or split, row.alpha, row.architectures,
            row.table_rounds,
        )  # fmt: skip
        key = (row.clients, row.alpha, row.architectures, row.method, row.rounds)
        keys.add(key)
        entries.setdefault(point, {})[row.method] = _entry(row, runs.get(key, {}), seed_count)
    total = len(keys) * seed_count
    pending = total - sum(len(runs.get(key, {})) for key in keys)
    return Comparison(
        folder, data_name, marker.inputs, seeds, conditions, split_conditions, entries, max(0, pending), total
    )


def _runs(folder: Path, table: _Table) -> dict[tuple[Any, ...], dict[int, _Cell]]:
    """The cells by point and method, and then by seed; raises UsageError where a cell is there twice."""
    with_alpha = any(row.alpha is not None for row in table.tables)
    runs = dict[tuple[Any, ...], dict[int, _Cell]]()
    for cell in table.cells:
        alpha = cell.alpha if with_alpha else None
        of_point = runs.setdefault((cell.clients, alpha, cell.architectures, cell.method, cell.rounds), {})
        if cell.seed in of_point:
            raise UsageError(f"{path_text(folder / TABLE)} is damaged: it has a cell of {excerpt(cell.method)} twice")
        of_point[cell.seed] = cell
    return runs


def _entry(row: _Row, runs: Mapping[int, _Cell], seed_count: int) -> Entry:
    accuracies = {seed: 100 * cell.accuracy for seed, cell in sorted(runs.items()) if cell.accuracy is not None}
    reasons = [f"{'failed: ' * (cell.status == 'failed')}{cell.reason}" for cell in runs.values() if cell.reason]
    reason = _line(reasons[0]) if reasons else "" if len(runs) >= seed_count else "not run yet"
    return Entry(row.kind, accuracies, seed_count, _line(row.caveat), reason)


def _settings(path: Path) -> dict[str, Any]:
    """The settings of data and split by name, of an earlier version too: what the file lacks has its default."""
    if read_if_there(path) is None:
        raise UsageError(f"{path_text(path)} is missing: it says which data were compared")
    content = read_toml(path)
    values = dict[str, Any]()
    for section in ("data", "partition"):
        own = content.get(section, {})
        for key, default in getattr(Config(), section):
            value = own.get(key, default) if isinstance(own, dict) else default
            values[f"{section}.{key}"] = tuple(value) if isinstance(value, list) else value
    own = content.get("run", {})
    values["run.attack"] = own.get("attack", "") if isinstance(own, dict) else ""
    for key in ("data.name", "partition.split", "run.attack"):
        if not isinstance(values[key], str):
            raise UsageError(f"{path_text(path)}: {key} is {excerpt(values[key])}, which is no name")
        values[key] = _line(values[key])
    return values


def _unusual(settings: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """As "max_train 200, max_test 60": those of the named settings that are not as by default."""
    config = Config()
    parts = []
    for name in names:
        section, _, key = name.partition(".")
        if settings[name] != getattr(getattr(config, section), key):
            parts.append(f"{key} {_line(str(settings[name]))}")
    return ", ".join(parts)


def _content(path: Path, kind: type[Content], advice: str) -> Content | None:
    """The JSON in a file, checked; None where there is no such file; raises UsageError where it is damaged."""
    text = read_if_there(path)
    if text is None:
        return None
    try:
        return kind.model_validate(received_json.loads(text.decode("utf-8")))
    except ValidationError as error:
        place = _line(".".join(map(str, error.errors(include_url=False)[0]["loc"])))
        raise UsageError(f"{path_text(path)} is damaged{f' at {place}' if place else ''}: {advice}") from error
    except ValueError as error:
        raise UsageError(f"{path_text(path)} is damaged: {advice}") from error


def _line(text: str) -> str:
    """A text of a file on one printable line of at most `MAX_NAME` characters."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return printable if len(printable) <= MAX_NAME else f"{printable[: MAX_NAME - 1]}…"
