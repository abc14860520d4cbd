"""Whether a fitted model of a site's own is one of the schema's columns and codes, by what it says of itself."""

import re
from collections.abc import Sequence
from typing import Any

from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError, excerpt
from mosaic_fl.experts.kind import Expert
from mosaic_fl.models.inference import accuracy
from mosaic_fl.notes import note

FEW = 1000  # samples on which a model is held against the most frequent class
DEFAULT_NAME = re.compile(r"(Column_|f)\d+")
"""The names that LightGBM and XGBoost give to columns without any."""


def require_columns(model: Any, schema: Schema) -> bool:
    """Whether the columns that a fitted estimator names are those of the schema, as stored; False where it names none.

    It names them where it was fitted to a frame. Raises UsageError where it learnt from some of the schema's columns
    and not from all, from more, or in another order.
    """
    columns = [column.name for column in _columns(schema)]
    names = [str(name) for name in _names(model)]
    plain = [re.sub(r"\s", "_", name) for name in columns]  # as LightGBM writes them
    if not columns or not names or all(map(DEFAULT_NAME.fullmatch, names)):
        return False
    if names in (columns, plain):
        _require_codes(model, schema)
        return True
    lacks = [name for name, other in zip(columns, plain, strict=True) if not {name, other} & set(names)]
    if len(lacks) == len(columns):  # columns of another form, as encoded ones
        return False
    more = [name for name in names if name not in {*columns, *plain}]
    parts = [f"it lacks {excerpt(name)}" for name in lacks[:1]] + [
        f"it has {excerpt(name)} beside" for name in more[:1]
    ]
    what = " and ".join(parts) or f"their order is {excerpt(', '.join(columns), 200)}"
    raise UsageError(
        f"{type(model).__name__} is fitted to other columns than those of the schema: {what}; fit it to the schema's "
        "columns in their order (docs/experts.md)"
    )


def require_other_names(model: Any, schema: Schema) -> None:
    """Raise UsageError where an estimator that would be given the columns as stored names other ones."""
    names = [str(name) for name in _names(model)]
    if names and _columns(schema) and not all(map(DEFAULT_NAME.fullmatch, names)):
        raise UsageError(
            f"{type(model).__name__} is fitted to the columns {excerpt(', '.join(names), 80)}, and the schema has "
            f"{excerpt(', '.join(column.name for column in _columns(schema)), 80)}: fit it to these, or to an array"
        )


def tell_if_useless(source: str, expert: Expert, train: Dataset) -> None:
    """A note where a model that came as it is, is no more often right on the site's samples than a constant answer.

    So it is for one of other codes, units or columns of the same number, which nothing else can tell.
    """
    few = train.subset(range(min(len(train), FEW)))
    right = accuracy(expert.log_probabilities(few.samples), few.labels)
    most = float(few.class_counts().max()) / max(len(few), 1)
    if len(few) and right <= most < 1:
        note(
            f"{source} is right for {100 * right:.0f} % of the site's samples, and the most frequent class alone for "
            f"{100 * most:.0f} %: were its columns, units and codes of categories those of the schema?"
        )


def _require_codes(model: Any, schema: Schema) -> None:
    """Raise UsageError where LightGBM counts the categories of a frame in another order than the schema."""
    booster = getattr(_last(model), "booster_", None)
    counted: Sequence[Sequence[Any]] = getattr(booster, "pandas_categorical", None) or []
    columns = [column for column in _columns(schema) if column.categories]
    if len(counted) != len(columns):
        return
    for column, values in zip(columns, counted, strict=True):
        words = [str(value) for value in values]
        codes = [f"{code:g}" for code in range(len(column.categories))]
        if words != list(column.categories) and [f"{v:g}" if isinstance(v, float) else str(v) for v in values] != codes:
            raise UsageError(
                f"{type(model).__name__} counts the categories of {column.name!r} as {excerpt(', '.join(words), 80)}, "
                f"and the schema as {excerpt(', '.join(column.categories), 80)}: fit it to the schema's codes"
            )


def _columns(schema: Schema) -> Sequence[Any]:
    """The columns of samples that are rows of a table alone; empty for others."""
    fields = list(schema.fields.values())
    columns: Sequence[Any] = getattr(fields[0], "columns", ()) if len(fields) == 1 else ()
    return columns


def _names(model: Any) -> Sequence[Any]:
    try:
        return list(getattr(model, "feature_names_in_", ()))
    except Exception:  # somebody else's estimator may raise anything
        return ()


def _last(model: Any) -> Any:
    """The last step of a pipeline, or the estimator itself."""
    steps = getattr(model, "steps", None)
    return steps[-1][1] if steps else model
