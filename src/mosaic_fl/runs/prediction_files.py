"""Files of predictions as CSV, JSON lines or Parquet, written row by row while the model predicts."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from mosaic_fl.errors import UsageError, unknown

if TYPE_CHECKING:  # without torch, so that a wrong format is told fast
    from mosaic_fl.exchange.assurance import Assurance
    from mosaic_fl.runs.predicting import Prediction

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", "": "jsonl", ".parquet": "parquet"}
DIGITS = 6  # of a probability
TRUST = ("confidence", "strangeness")  # columns of what a model's file says of the trust in a prediction
ABSTAINED = "abstained"
CLASS = "probability:"  # begins the name of a class's column, so that no class has the name of another column


class Writer(Protocol):
    """Writes rows in their order; `close` completes the file."""

    def write(self, prediction: "Prediction") -> None: ...
    def close(self) -> None: ...


def choose_format(name: str | None, suffix: str | None) -> str:
    """csv, jsonl or parquet, by `name`, else by the suffix of the file; JSON lines on the screen (suffix None).

    Raises UsageError for another name or suffix, and for Parquet on the screen.
    """
    if name is not None and name not in WRITERS:
        raise unknown("--format", name, list(WRITERS))
    if name == "parquet" and suffix is None:
        raise UsageError("--format parquet is not for the screen: add --out FILE.parquet")
    if name is not None:
        return name
    if (suffix or "").lower() not in SUFFIXES:
        raise UsageError(f"--out ends in {suffix!r}: end it in .csv, .jsonl or .parquet, or say --format")
    return SUFFIXES[(suffix or "").lower()]


class Table:
    """The columns of predictions, and a prediction as a row of them.

    `places` names the columns that say which input it is: of `image`, `file` and `row`. Then come `class` (its
    number), `name` and `probability` of the most probable class; those of `TRUST` that the model has; `abstained`,
    why the model does not answer, where it may; with `every`, one column a class; `error`. For an input that cannot be
    read the other values are None. Where the model abstains there is no class.
    """

    def __init__(
        self,
        classes: Sequence[str],
        places: Sequence[str],
        *,
        every: bool,
        trust: Sequence[str] = (),
        abstains: bool = False,
    ) -> None:
        self.classes = classes
        self.places = places
        self.every = every
        self.trust = trust
        self.abstains = abstains
        own = [*places, "class", "name", "probability", *trust, *([ABSTAINED] if abstains else [])]
        self.columns = [*own, *(f"{CLASS}{name}" for name in classes if every), "error"]

    def row(self, prediction: "Prediction") -> dict[str, Any]:
        """The values by column."""
        everything = {"image": prediction.image, "file": prediction.file or None, "row": prediction.row}
        place = [everything[name] for name in self.places]
        answer = prediction.answer
        values = answer.probabilities
        best = max(range(len(values)), key=values.__getitem__) if values else None
        first: list[Any] = [None] * 3
        if best is not None and not prediction.abstained:
            first = [best, self.classes[best], round(values[best], DIGITS)]
        first += [_rounded(getattr(answer, name)) for name in self.trust]
        first += [prediction.abstained or None] if self.abstains else []
        classes: list[Any] = []
        if self.every:
            classes = [round(value, DIGITS) for value in values] or [None] * len(self.classes)
        return dict(zip(self.columns, [*place, *first, *classes, prediction.error or None], strict=True))


def trust_columns(assurance: "Assurance | None") -> tuple[str, ...]:
    """The columns of `TRUST` that a model with this assurance has."""
    if assurance is None:
        return ()
    return TRUST if assurance.density is not None else TRUST[:1]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


class JsonLines:
    """One JSON object a line, with an `error` only where there is one."""

    def __init__(self, file: BinaryIO, table: Table) -> None:
        self.file = file
        self.table = table

    def write(self, prediction: "Prediction") -> None:
        row = self.table.row(prediction)
        if row["error"] is None:
            del row["error"]
        self.file.write(json.dumps(row).encode() + b"\n")

    def close(self) -> None:
        """Nothing is left to write."""


class Csv:
    """A header line and one line an input, UTF-8; what is None is empty. Names that are no UTF-8 keep their bytes."""

    def __init__(self, file: BinaryIO, table: Table) -> None:
        self.file = file
        self.table = table
        self._line(table.columns)

    def write(self, prediction: "Prediction") -> None:
        self._line(list(self.table.row(prediction).values()))

    def close(self) -> None:
        """Nothing is left to write."""

    def _line(self, cells: Sequence[Any]) -> None:
        line = io.StringIO(newline="")
        csv.writer(line).writerow(cells)
        self.file.write(line.getvalue().encode("utf-8", "surrogateescape"))


class Parquet:
    """A Parquet file. It cannot hold names that are no UTF-8: their wrong bytes are written as \\udcNN."""

    AT_ONCE = 8192

    def __init__(self, file: BinaryIO, table: Table) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {"image": pa.int64(), "file": pa.string(), "row": pa.int64(), "class": pa.int64()}
        kinds |= {"name": pa.string(), ABSTAINED: pa.string(), "error": pa.string()}
        self.table = table
        self.schema = pa.schema([(column, kinds.get(column, pa.float64())) for column in table.columns])
        self.writer = pq.ParquetWriter(file, self.schema)
        self.buffer: list[dict[str, Any]] = []

    def write(self, prediction: "Prediction") -> None:
        row = self.table.row(prediction)
        self.buffer.append({column: _utf8(value) if isinstance(value, str) else value for column, value in row.items()})
        if len(self.buffer) * len(row) >= self.AT_ONCE:
            self._flush()

    def close(self) -> None:
        self._flush()
        self.writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self.buffer:
            self.writer.write_table(pa.Table.from_pylist(self.buffer, schema=self.schema))
        self.buffer = []


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


WRITERS: dict[str, Callable[[BinaryIO, Table], Writer]] = {"csv": Csv, "jsonl": JsonLines, "parquet": Parquet}
