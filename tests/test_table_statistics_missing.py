"""Words for a missing value at one site that are values at another one: no row may become unreadable by the merge."""

import pytest

from mosaic_fl.data.table.merging import merge
from mosaic_fl.data.table.rows import table_of
from mosaic_fl.data.table.site_statistics import Statistics
from mosaic_fl.errors import UsageError
from mosaic_fl.table_statistics import statistics

CLASSES = ["ill", "well"] * 100


def site(client: int, *missing: str, labels: list[str] | None = None, **columns: list[object]) -> Statistics:
    return statistics(columns, labels or CLASSES, client=client, missing=missing)


@pytest.mark.parametrize("word", ["well", "WELL", " well "])
def test_a_class_that_is_a_missing_value_elsewhere_is_refused(word: str) -> None:
    a = site(0, "NA", age=[1, 2] * 100)
    b = site(1, word, labels=["ill", "dead"] * 100, age=[1, 2] * 100)
    with pytest.raises(UsageError, match="class 'well' .* word for a missing value at client 1"):
        merge([a, b])


@pytest.mark.parametrize(
    ("values", "others", "word"),
    [
        (["m", "f"], ["u", "f"], "M"),  # a category
        (["no", "yes"], ["false", "true"], "no"),  # a truth value
        ([-9, 3], [2, 3], "-9"),  # a number
    ],
)
def test_a_value_that_is_missing_elsewhere_may_be_missing(
    values: list[object], others: list[object], word: str
) -> None:
    a = site(0, "NA", x=values * 100, age=[1, 2] * 100)
    b = site(1, word, x=others * 100, age=[1, 2] * 100)
    x, age = table_of(merge([a, b]).schema).columns
    assert x.missing
    assert not age.missing
