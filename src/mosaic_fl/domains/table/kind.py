"""The kind `table`: rows of columns; float32 at rest, quantile positions and one-hot codes in a network."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from mosaic_fl.config import DistillConfig
from mosaic_fl.config.experiment import MISSING
from mosaic_fl.domains.kind import Kind
from mosaic_fl.domains.schema import MAX_NAME, require_plain
from mosaic_fl.domains.table.column import Column
from mosaic_fl.domains.table.encoding import Encoding, encoding_of
from mosaic_fl.errors import UsageError, excerpt, unknown
from mosaic_fl.numerics.randomness import Stream

# Bounds on a received schema, so that it cannot make a reader allocate without limit.
MAX_COLUMNS = 2000
MAX_WIDTH = 100_000
MAX_WORDS = 100
PRIORS = ("none", "uniform")
POINT = "."
COMMA = ","


@dataclass(frozen=True)
class Table:
    """Rows of `columns`; float32 (n, columns) at rest.

    A number is itself, a truth value is 0 or 1, a category its code, and a missing value NaN. In a file of such rows
    `label` is the column of classes, `missing` has the words that stand for a missing value, and `decimal` is the sign
    before the decimals of numbers that are text, a point or a comma. Raises UsageError for values out of bounds.
    """

    name: ClassVar[str] = "table"
    drawn_well: ClassVar[bool] = True
    columns: tuple[Column, ...]
    label: str = ""
    missing: tuple[str, ...] = MISSING
    decimal: str = POINT

    def __post_init__(self) -> None:
        if not 1 <= len(self.columns) <= MAX_COLUMNS:
            raise UsageError(f"a table of {len(self.columns)} columns: 1..{MAX_COLUMNS} are used")
        name, count = Counter(column.name for column in self.columns).most_common(1)[0]
        if count > 1:
            raise UsageError(f"column {name!r} is there twice: each column has a name of its own")
        require_plain("column", self.label)
        if self.label in {column.name for column in self.columns}:
            raise UsageError(f"column {self.label!r} is the label and a feature: leave it out of the features")
        width = sum(column.width for column in self.columns)
        if width > MAX_WIDTH:
            raise UsageError(f"a row of this table gives a network {width:,} values: at most {MAX_WIDTH:,}")
        if len(self.missing) > MAX_WORDS:
            raise UsageError(f"{len(self.missing)} words for a missing value: at most {MAX_WORDS}")
        for word in self.missing:
            require_plain("missing", word)
        if self.decimal not in (POINT, COMMA):
            raise UsageError(f"the decimal sign {excerpt(self.decimal, 20)}: write a point or a comma")

    @cached_property
    def encoding(self) -> Encoding:
        """Where the columns' values stand in a network's input."""
        with torch.device("cpu"):  # a network is also built on the meta device, whose tensors have no values
            return encoding_of(self.columns)

    def __reduce__(self) -> tuple[type["Table"], tuple[object, ...]]:
        """To another process without the encodings, which may be on a device."""
        return Table, (self.columns, self.label, self.missing, self.decimal)

    def _encoding_on(self, device: torch.device) -> Encoding:
        """The encoding on a device; it is kept there."""
        if device not in self._encodings:
            self._encodings[device] = self.encoding.to(device)
        return self._encodings[device]

    @cached_property
    def _encodings(self) -> dict[torch.device, Encoding]:
        return {}

    @property
    def shape(self) -> tuple[int, ...]:
        """(width,): one value a number or truth value, one a category, one more for a column that may be missing."""
        return (sum(column.width for column in self.columns),)

    def check(self, values: Tensor) -> None:
        """Raise UsageError unless `values` are float32 (n, columns), each of them a value of its column."""
        if values.dtype != torch.float32 or values.ndim != 2 or values.shape[1] != len(self.columns):
            raise UsageError(
                f"rows are {values.dtype} {tuple(values.shape)}, the schema says float32 (n, {len(self.columns)})"
            )
        absent = values.isnan()
        wrong = absent & ~self._may_be_missing.to(values.device) | values.isinf()
        most = self._counts.to(values.device)
        is_code = torch.isfinite(most)
        wrong |= is_code & ~absent & ((values < 0) | (values >= most) | (values != values.round()))
        if bool(wrong.any()):
            row, place = wrong.nonzero()[0].tolist()
            column = self.columns[place]
            value = float(values[row, place])
            raise UsageError(f"row {row} has {value:g} in column {column.name!r}, which is {self._form(column)}")

    @staticmethod
    def _form(column: Column) -> str:
        codes = {"category": f"a code in 0..{len(column.categories) - 1}", "boolean": "0 or 1"}
        form = codes.get(column.type, "a finite number")
        return f"{form} or missing" if column.missing else f"{form} and never missing"

    @cached_property
    def _may_be_missing(self) -> Tensor:
        return torch.tensor([column.missing for column in self.columns], device="cpu")

    @cached_property
    def _counts(self) -> Tensor:
        """The number of codes of each column; infinite for a column of numbers."""
        codes = {"boolean": 2.0, "numeric": torch.inf, "whole": torch.inf}
        counts = [codes.get(column.type, float(len(column.categories))) for column in self.columns]
        return torch.tensor(counts, device="cpu")

    def zeros(self, n: int) -> Tensor:
        """Rows of zeros and first categories."""
        return torch.zeros(n, len(self.columns))

    def to_network(self, values: Tensor) -> Tensor:
        """Rows at rest -> float32 (n, width); see `Encoding`. Numbers are −1..1, clamped to the range of the column."""
        return self._encoding_on(values.device).encode(values)

    def to_rest(self, values: Tensor) -> Tensor:
        """Float (n, width) -> the nearest rows at rest."""
        return self._encoding_on(values.device).decode(values, len(self.columns))

    def augmentation(self, setting: str) -> str:
        """None: a value of a table has no harmless change."""
        return "none"

    def varied(self, values: Tensor, how: str, rng: torch.Generator) -> Tensor:
        """The rows as they are."""
        return values

    def prior_source(self, setting: str) -> str:
        """`setting`; "auto" is "none"."""
        return "none" if setting == "auto" else setting

    def check_prior(self, source: str) -> None:
        """Raise UsageError unless `source` is "none" or "uniform"."""
        if source not in PRIORS:
            raise unknown("prior of a table", source[:MAX_NAME], PRIORS)

    def prior(self, source: str, n: int, stream: Stream) -> Tensor:
        """Rows whose columns are independent: uniform between quantiles and over categories; nothing is missing."""
        outputs = torch.rand(n, self.encoding.width, generator=stream.torch()) * 2 - 1
        outputs[:, self.encoding.absent_at] = 0.0
        return self.to_rest(outputs)

    def strange(self, n: int, stream: Stream) -> Tensor:
        """`n` rows at rest whose columns are independent."""
        return self.prior("uniform", n, stream)

    def mixed(self, prior: Tensor, samples: Tensor, config: DistillConfig, seed: int) -> Tensor:
        """The public rows as they are."""
        return prior

    def default_models(self) -> tuple[str, ...]:
        """A perceptron."""
        return ("mlp:128:2",)

    def default_student(self) -> str:
        """A perceptron."""
        return "mlp:128:2"

    @property
    def summary(self) -> str:
        """The number of columns in words, as "rows of 14 columns"."""
        return f"rows of {len(self.columns):,} column{'s' * (len(self.columns) > 1)}"

    def difference(self, other: Kind) -> str:
        """The first column that differs, and how."""
        if not isinstance(other, Table):
            return f"{self.summary}, not {other.summary}"
        ours, theirs = ({column.name: column for column in table.columns} for table in (self, other))
        if lacks := [name for name in theirs if name not in ours]:
            return f"no column {lacks[0]!r}"
        if more := [name for name in ours if name not in theirs]:
            return f"a column {more[0]!r} more"
        for name, column in ours.items():
            if column != theirs[name]:
                return column.difference(theirs[name])
        if list(ours) != list(theirs):
            return f"its columns in another order, with {next(iter(ours))!r} first,"
        if self.label != other.label:
            return f"the classes in column {self.label!r}, not {other.label!r}"
        if self.decimal != other.decimal:
            return f"numbers with {self.decimal!r} before their decimals, not {other.decimal!r}"
        return f"the words {', '.join(self.missing)} for a missing value, not {', '.join(other.missing)}"

    def to_json(self) -> dict[str, Any]:
        """As JSON values, the inverse of `from_json`."""
        label = {"label": self.label} if self.label else {}
        words = {"missing": list(self.missing)} if self.missing != MISSING else {}
        sign = {"decimal": self.decimal} if self.decimal != POINT else {}
        return {"kind": self.name, "columns": [column.to_json() for column in self.columns], **label, **words, **sign}

    @classmethod
    def from_json(cls, value: object) -> "Table":
        """From JSON values that may come from anywhere; raises UsageError for anything but a table."""
        match value:
            case {"kind": "table", "columns": list(columns), **rest} if len(columns) <= MAX_COLUMNS:
                label = rest.get("label", "")
                missing = rest.get("missing", list(MISSING))
                decimal = rest.get("decimal", POINT)
                if isinstance(label, str) and isinstance(missing, list) and len(missing) <= MAX_WORDS:
                    return cls(tuple(map(Column.from_json, columns)), label, tuple(missing), str(decimal))
        raise UsageError(f"the schema's table has no list of at most {MAX_COLUMNS} columns")
