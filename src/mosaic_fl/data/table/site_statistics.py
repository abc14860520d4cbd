"""The statistics of one site's table: what it sends so that one schema can be made for all sites."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from mosaic_fl.data.table.guess import REASONS
from mosaic_fl.data.table.sketch import BINS
from mosaic_fl.domains.schema import MAX_CLASSES, MAX_NAME, is_plain, require_plain
from mosaic_fl.domains.table.column import MAX_CATEGORIES, MAX_NUMBER, NUMBERS, TYPES
from mosaic_fl.domains.table.kind import COMMA, MAX_COLUMNS, MAX_WORDS, POINT
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.storage.container import pack, unpack
from mosaic_fl.storage.files import read_bytes, write_atomic

KIND = "statistics"
IGNORED = "ignored"  # instead of a type: the site's user leaves the column out
NO_TYPES = (IGNORED, *REASONS)
# Bounds on a received file.
MAX_BYTES = 16 * 2**20
MAX_ROWS = 10**12
MAX_POINTS = BINS + 2
MAX_CLIENT = 9999
MOST_WORDS = 6  # categories of a column that a line lists
Range = tuple[float, float]


@dataclass(frozen=True)
class ColumnStatistics:
    """One column at one site: its `type`, or why it is no feature there (`NO_TYPES`), and counts of rows.

    `absent` rows have no value. `counts` belong to the `points` of a column of numbers (see `sketch`), or to the
    `categories` of any other. `constant`: all rows with a value have the same. `copies`: each value belongs to one
    class. `total` is the sum of the values, of which those beyond the ends of the range, or else beyond the outermost
    points, count as these. `range` and `public` are what the user says that everyone may know: the ends of the range,
    or categories. Raises UsageError for what no table has.
    """

    name: str
    type: str
    absent: int = 0
    points: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    constant: bool = False
    copies: bool = False
    range: Range | None = None
    public: tuple[str, ...] = ()
    total: float | None = None

    def __post_init__(self) -> None:
        require_plain("column", self.name)
        where = f"column {self.name!r}"
        if not self.name or self.type not in (*TYPES, *NO_TYPES):
            raise UsageError(f"{where} has the type {excerpt(self.type, 40)}: known: {', '.join((*TYPES, *NO_TYPES))}")
        _require_counts(where, (self.absent, *self.counts))
        if self.type not in NUMBERS and (self.points or self.range or self.total is not None):
            raise UsageError(f"{where} is {self.type}, and has numbers")
        if self.type in NUMBERS and (self.categories or self.public):
            raise UsageError(f"{where} is {self.type}, and has categories")
        if len(self.points) > MAX_POINTS or len(self.counts) != len(self.points or self.categories):
            raise UsageError(f"{where} has {len(self.points)} points and {len(self.counts)} counts")
        for number in (*self.points, *(self.range or ())):
            if type(number) is not float or not isfinite(number) or abs(number) > MAX_NUMBER:
                raise UsageError(f"{where} has {excerpt(number, 40)} for a number: −1e30..1e30 can be used")
        if self.total is not None and not (type(self.total) is float and abs(self.total) <= MAX_NUMBER * MAX_ROWS):
            raise UsageError(f"{where} has {excerpt(self.total, 40)} for a sum: it is a finite number")
        ends = self.range or (0.0, 1.0)
        if any(left >= right for left, right in [*pairwise(self.points), ends]):
            raise UsageError(f"{where} has points or a range that do not increase")
        for words in (self.categories, self.public):
            require_words(where, words, MAX_CATEGORIES)

    @property
    def is_feature(self) -> bool:
        """Whether the column is a feature at this site."""
        return self.type in TYPES

    @property
    def line(self) -> str:
        """What is told of the column."""
        if not self.is_feature:
            return f"{self.name!r}: no feature ({self.type})"
        what = "no value"
        if self.points:
            what = f"{len(self.points)} points {self.points[0]:g}..{self.points[-1]:g} with their rows"
            what += f", sum {self.total:g}" if self.total is not None else ""
        elif self.categories:
            what = ", ".join(f"{name} {count:,}" for name, count in list(self.tallies.items())[:MOST_WORDS])
            what += ", …" * (len(self.categories) > MOST_WORDS)
        return f"{self.name!r}: {self.type}, {self.absent:,} missing, {what}"

    @property
    def tallies(self) -> dict[str, int]:
        """The counts of the categories."""
        return dict(zip(self.categories, self.counts, strict=True)) if self.categories else {}


@dataclass(frozen=True)
class Statistics:
    """What the site `client` tells of its table of so many `rows`.

    `classes` has the rows of each class in the column `label`. `least` rows at least stand behind each value that is
    told. With `epsilon` every count is noisy, and a category or class whose name is not public is told with the
    probability `delta` at most where one row alone has it. Raises UsageError for what no table has.
    """

    client: int
    rows: int
    label: str
    classes: Mapping[str, int]
    columns: tuple[ColumnStatistics, ...]
    least: int
    missing: tuple[str, ...]
    decimal: str = POINT
    epsilon: float | None = None
    delta: float | None = None

    def __post_init__(self) -> None:
        if type(self.client) is not int or not 0 <= self.client <= MAX_CLIENT:
            raise UsageError(f"it is of the client {excerpt(self.client, 40)}: 0..{MAX_CLIENT} are used")
        require_plain("column", self.label)
        _require_counts("the table", (self.rows, self.least, *self.classes.values()))
        require_words("the label", tuple(self.classes), MAX_CLASSES)
        require_words("the table", self.missing, MAX_WORDS)
        if self.decimal not in (POINT, COMMA):
            raise UsageError(f"the decimal sign is {excerpt(self.decimal, 20)}: a point or a comma can be used")
        names = {column.name for column in self.columns}
        if not len(names) == len(self.columns) <= MAX_COLUMNS or self.label in names or not self.label:
            raise UsageError(f"its {len(self.columns)} columns are too many, or have one name twice")
        for value in (self.epsilon, self.delta):
            if value is not None and (type(value) is not float or not 0 < value < float("inf")):
                raise UsageError(f"ε or δ is {excerpt(value, 40)}: it is greater than 0")
        if self.epsilon is None:
            self._check_exact()

    def _check_exact(self) -> None:
        """Raise UsageError where counts without noise contradict each other or have too few rows behind them."""
        parts = {f"column {c.name!r}": (c.counts, c.absent) for c in self.columns} | {
            "the label": (tuple(self.classes.values()), 0)
        }
        for where, (counts, absent) in parts.items():
            if any(count < self.least for count in counts):
                raise UsageError(f"{where} has the count {min(counts)}, and {self.least} rows stand behind each value")
            if sum(counts) + absent > self.rows:
                raise UsageError(f"{where} counts {sum(counts) + absent:,} rows of {self.rows:,}")

    def lines(self, most: int) -> list[str]:
        """What the file tells, a line for each of the first `most` columns."""
        classes = ", ".join(f"{name} {count:,}" for name, count in list(self.classes.items())[:most])
        lines = [f"{self.rows:,} rows; {self.label!r}: {classes or 'no class of enough rows'}"]
        lines += [column.line for column in self.columns[:most]]
        return lines + ["…"] * (len(self.columns) > most)

    def to_bytes(self) -> bytes:
        """The file's bytes; raises UsageError where there are more than `MAX_BYTES`."""
        manifest = _plain(self) | {"columns": [_plain(column) for column in self.columns]}
        manifest["classes"] = [[name, count] for name, count in self.classes.items()]
        content = pack(KIND, manifest, {})
        if len(content) > MAX_BYTES:
            raise UsageError(f"the statistics have {len(content):,} bytes: leave columns out, at most {MAX_BYTES:,} go")
        return content

    def save(self, path: str | Path) -> None:
        """Write the file; raises MosaicError where that is impossible."""
        write_atomic(Path(path), self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> "Statistics":
        """From a file that may come from anywhere; raises UsageError, with its name and the reason."""
        return cls.from_bytes(read_bytes(Path(path), MAX_BYTES), str(path))

    @classmethod
    def from_bytes(cls, content: bytes, source: str) -> "Statistics":
        """From bytes that may come from anywhere; raises UsageError that names the `source` and the reason."""
        if len(content) > MAX_BYTES:
            raise UsageError(f"{source}: {len(content):,} bytes; at most {MAX_BYTES:,} are read")
        manifest, tensors = unpack(content, KIND, source)
        try:
            if tensors:
                raise UsageError("it has tensors, and statistics have none")
            match manifest:
                case {"classes": list(classes), "columns": list(columns), **rest} if len(columns) <= MAX_COLUMNS:
                    values = _values(cls, rest) | {"classes": dict(map(_pair, classes))}
                    if len(values["classes"]) < len(classes):
                        raise UsageError("it names a class twice")
                    return cls(
                        **values, columns=tuple(ColumnStatistics(**_values(ColumnStatistics, c)) for c in columns)
                    )
            raise UsageError("it has no list of classes and columns")
        except (UsageError, TypeError) as error:
            reason = error if isinstance(error, UsageError) else "something lacks or has another form"
            raise UsageError(f"{source}: {reason}") from error


def require_words(where: str, words: tuple[str, ...], most: int) -> None:
    """Raise UsageError unless these are at most `most` plain names, each once."""
    if len(words) > most or not all(isinstance(word, str) and word and is_plain(word) for word in words):
        raise UsageError(
            f"{where} has {len(words)} names, or one that is no plain text: at most {most}, of up to {MAX_NAME} "
            "characters without control characters"
        )
    if len(set(words)) < len(words):
        raise UsageError(f"{where} names a category, a class or a word twice")


def _require_counts(where: str, counts: tuple[int, ...]) -> None:
    for count in counts:
        if type(count) is not int or not 0 <= count <= MAX_ROWS:
            raise UsageError(f"{where} has {excerpt(count, 40)} for a number of rows: 0..{MAX_ROWS:,} can be")


def _plain(value: Any) -> dict[str, Any]:
    """The fields of a value that differ from their defaults, as JSON values."""
    plain = {field.name: getattr(value, field.name) for field in fields(value)}
    defaults = {field.name: field.default for field in fields(value)}
    return {
        name: list(entry) if isinstance(entry, tuple) else entry
        for name, entry in plain.items()
        if entry != defaults[name]
    }


def _values(kind: type, value: object) -> dict[str, Any]:
    """The fields of a `kind` in JSON values: lists become tuples, whole numbers of points become floats."""
    names = {field.name for field in fields(kind)}
    if not isinstance(value, dict) or not value.keys() <= names:
        raise UsageError(f"it has {excerpt(value, 60)}, which statistics do not have")
    made = {name: tuple(entry) if isinstance(entry, list) else entry for name, entry in value.items()}
    for name in ("missing", "points", "categories", "counts", "range", "public"):
        if name in made and not isinstance(made[name], tuple):
            raise UsageError(f"its {name} are no list")
    for name in ("constant", "copies"):
        if type(made.get(name, False)) is not bool:
            raise UsageError(f"its {name} is neither true nor false")
    if len(made.get("range", (0, 1))) != 2:
        raise UsageError("its range has no two ends")
    return made


def _pair(value: object) -> tuple[str, int]:
    match value:
        case [str(name), int(count)]:
            return name, count
    raise UsageError(f"it has {excerpt(value, 60)} where a class and its rows belong")
