"""A site's table -> its `Statistics`, exact or noisy."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mosaic_fl.config.experiment import MISSING
from mosaic_fl.data.names import in_order, listing
from mosaic_fl.data.table.decimals import decimal_sign
from mosaic_fl.data.table.draft import classes_of, copy_remark
from mosaic_fl.data.table.frame import Cells, Frame, missing_mask, texts
from mosaic_fl.data.table.guess import LeftOut, type_of
from mosaic_fl.data.table.knots import Counts
from mosaic_fl.data.table.noise import DELTA, Noise
from mosaic_fl.data.table.public import Public
from mosaic_fl.data.table.site_statistics import IGNORED, ColumnStatistics, Statistics
from mosaic_fl.data.table.sketch import cells_of, histogram, sketch
from mosaic_fl.data.table.values import Values, numbers
from mosaic_fl.domains.schema import is_plain
from mosaic_fl.domains.table.column import NUMBERS
from mosaic_fl.errors import UsageError

SUM_DIGITS = 6  # of a sum: more would tell of single values


@dataclass(frozen=True)
class Survey:
    """How the site `client` tells of its table: `least` rows behind each value, what is public, ε in all or None.

    With `sums` the sum of each column of numbers is told, too. Raises UsageError for values out of bounds.
    """

    client: int
    least: int
    ignore: Sequence[str] = ()
    missing: Sequence[str] = MISSING
    public: Public = field(default_factory=Public)
    epsilon: float | None = None
    sums: bool = False

    def __post_init__(self) -> None:
        if self.least < 1:
            raise UsageError(f"the least number of rows is {self.least}: one or more stands behind a value")
        if self.epsilon is not None and not 1e-6 <= self.epsilon <= 1e6:
            raise UsageError(f"epsilon is {self.epsilon}: 0.000001..1000000 are used, 1 as a rule")


def survey(frame: Frame, label: str, how: Survey) -> Statistics:
    """The statistics of a frame with the classes in the column `label`.

    With ε a row counts once in the number of rows, in the classes, in each column that is a feature and in each sum;
    all of these queries have an equal part of ε. Raises UsageError for a label or a column that does not exist, for
    public values that do not fit a column, and with ε for columns of numbers without a public range.
    """
    label = frame.label_column(label)
    for name in (*how.ignore, *how.public.names):
        frame.column(name)
    classes, names = classes_of(frame, label, how.missing)
    features = [name for name in frame.columns if name != label and name not in how.ignore]
    decimal = decimal_sign(frame, features, how.missing)
    forms = [_form(name, frame, how, decimal) for name in features]
    noise = _noise(forms, how)
    tallies = {name: int((classes == number).sum()) for number, name in enumerate(names)}
    told = _tallies(tallies, how.public.words.get(label, ()), how.least, noise)
    columns = [_column(form, frame.columns[label], how, noise) for form in forms]
    columns += [ColumnStatistics(name, IGNORED) for name in how.ignore if name != label]
    return Statistics(
        how.client,
        len(frame) if noise is None else noise.on_one(len(frame)),
        label,
        told,
        tuple(columns),
        how.least,
        tuple(how.missing),
        decimal,
        None if how.epsilon is None else float(how.epsilon),
        None if noise is None else DELTA,
    )


@dataclass(frozen=True)
class _Form:
    """A column by its `type`, which may be a reason why it is no feature; `values` are those of a column of numbers."""

    name: str
    type: str
    is_feature: bool
    cells: Cells
    present: Cells
    values: Values

    @property
    def has_numbers(self) -> bool:
        return self.type in NUMBERS


def _form(name: str, frame: Frame, how: Survey, decimal: str) -> _Form:
    cells = frame.columns[name]
    present = cells[~missing_mask(cells, how.missing)]
    kind = type_of(name, present, decimal)
    if isinstance(kind, LeftOut):
        return _Form(name, kind.kind, False, cells, present, np.zeros(0))
    form = _Form(name, kind, True, cells, present, numbers(present, decimal) if kind in NUMBERS else np.zeros(0))
    if name in (how.public.words if form.has_numbers else how.public.ranges):
        words = "numbers: its range is public, as LOW:HIGH" if form.has_numbers else "words: a range does not fit"
        raise UsageError(f"column {name!r} of {frame.source} has {words}")
    return form


def _noise(forms: Sequence[_Form], how: Survey) -> Noise | None:
    """The noise that ε asks for, None without it."""
    if how.epsilon is None:
        return None
    features = [form for form in forms if form.is_feature]
    if lacks := [form.name for form in features if form.has_numbers and form.name not in how.public.ranges]:
        raise UsageError(
            f"noise needs a public range of {listing(lacks)}: --public NAME=LOW:HIGH for each, from common knowledge "
            "and not from these rows (as age=0:120), or --ignore it"
        )
    numeric = sum(form.has_numbers for form in features)
    queries = 2 + len(features) + how.sums * numeric
    return Noise.of(how.epsilon, queries, 1 + len(features) - numeric, how.least)


def _column(form: _Form, labels: Cells, how: Survey, noise: Noise | None) -> ColumnStatistics:
    if not form.is_feature:
        return ColumnStatistics(form.name, form.type)
    absent = len(form.cells) - len(form.present)
    points: Values = np.zeros(0)
    words = how.public.words.get(form.name, ())
    tallies = dict[str, int]()
    if form.has_numbers:
        points, counts = _of_numbers(form, how, noise)
    else:
        tallies = _tallies(Counter(texts(form.present).tolist()), words, how.least, noise)
        counts = np.array(list(tallies.values()), np.int64)
    return ColumnStatistics(
        form.name,
        form.type,
        absent if noise is None else noise.on_one(absent),
        tuple(map(float, points)),
        tuple(tallies),
        tuple(counts.tolist()),
        constant=noise is None and len(set(form.present.tolist())) == 1,  # one row may decide it
        copies=noise is None and bool(copy_remark(form.cells, labels)),
        range=how.public.ranges.get(form.name),
        public=words,
        total=_total(form, points, how, noise) if how.sums and len(points) else None,
    )


def _of_numbers(form: _Form, how: Survey, noise: Noise | None) -> tuple[Values, Counts]:
    """The points of a column of numbers and their counts; a constant is one point where enough rows have it."""
    whole = form.type == "whole"
    if noise is not None:
        points = cells_of(*how.public.ranges[form.name], whole=whole)
        return points, noise.on_cells(histogram(form.values, points))
    points, counts = sketch(form.values, how.least, whole=whole)
    if not len(points) and len(form.values) >= how.least and len(np.unique(form.values)) == 1:
        return form.values[:1], np.array([len(form.values)], np.int64)
    return points, counts


def _total(form: _Form, points: Values, how: Survey, noise: Noise | None) -> float:
    """The sum of a column of numbers, each clipped to its public range, or else to the outermost points."""
    low, high = how.public.ranges.get(form.name, (float(points[0]), float(points[-1])))
    values = np.clip(form.values, low, high)
    total = math.fsum(values.tolist()) if noise is None else noise.on_sum(values, max(abs(low), abs(high)))
    return float(f"{total:.{SUM_DIGITS}g}")


def _tallies(tallies: Mapping[str, int], public: Sequence[str], least: int, noise: Noise | None) -> dict[str, int]:
    """The rows of each category that is told: those that enough rows have, and with noise the public ones."""
    if noise is None:
        return {name: tallies[name] for name in in_order(tallies) if tallies[name] >= least and is_plain(name)}
    names = in_order({*public, *(name for name in tallies if is_plain(name))})
    counts = zip(names, noise.on([tallies.get(name, 0) for name in names]), strict=True)
    return {name: max(0, count) for name, count in counts if name in public or count >= noise.threshold}
