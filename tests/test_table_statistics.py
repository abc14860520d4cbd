"""Statistics of sites and their merge: one schema for all, as from the pooled rows."""

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mosaic_fl
from mosaic_fl.data.memory import from_table
from mosaic_fl.data.table.draft import Draft, draft
from mosaic_fl.data.table.merging import merge
from mosaic_fl.data.table.pooled import pool
from mosaic_fl.data.table.reading import frame_of
from mosaic_fl.data.table.rows import table_of
from mosaic_fl.data.table.site_statistics import ColumnStatistics, Statistics
from mosaic_fl.data.table.sketch import most_error
from mosaic_fl.domains.table import Column
from mosaic_fl.errors import UsageError
from mosaic_fl.table_statistics import merge_statistics, statistics

Columns = dict[str, list[Any]]
LEAST = 5


def site(client: int, rows: int = 200, *, labels: Any = None, least: int = LEAST, **columns: Any) -> Statistics:
    """A site of so many rows; without `labels` half of them are no and half yes."""
    values = {name: column * rows if len(column) == 1 else column for name, column in columns.items()}
    return statistics(
        values, ["no", "yes"] * (rows // 2) if labels is None else labels, client=client, least_rows=least
    )


def column(made: Draft, name: str) -> Column:
    return next(column for column in table_of(made.schema).columns if column.name == name)


def parts(seed: int) -> list[Columns]:
    """Four sites with shares of the same columns; all counts of categories and classes are above the least."""
    rng = np.random.default_rng(seed)
    made = []
    for rows in (400, 1000, 300, 5000):
        dose = np.where(rng.random(rows) < 0.5, 0, rng.integers(1, 900, rows)).astype(float)
        dose[rng.random(rows) < 0.1] = np.nan
        made.append(
            {
                "age": rng.integers(20, 90, rows).tolist(),
                "dose": dose.tolist(),
                "stage": rng.choice(["I", "II", "III"], rows).tolist(),
                "smoker": rng.choice(["no", "yes"], rows).tolist(),
                "outcome": rng.choice(["ill", "well"], rows).tolist(),
            }
        )
    return made


@pytest.mark.parametrize("seed", range(3))
def test_merged_counts_are_the_pooled_ones_and_knots_lie_within_the_error(seed: int) -> None:
    tables = parts(seed)
    sites = [statistics(rows, "outcome", client=client) for client, rows in enumerate(tables)]
    whole = {name: list(itertools.chain(*(rows[name] for rows in tables))) for name in tables[0]}
    pooled = draft(frame_of(whole), "outcome", ignore={}, least=LEAST)
    merged = merge(sites)
    assert merged.schema.classes == pooled.schema.classes == ("ill", "well")
    assert [(c.name, c.type, c.categories, c.missing) for c in table_of(merged.schema).columns] == [
        (c.name, c.type, c.categories, c.missing) for c in table_of(pooled.schema).columns
    ]
    columns = {one.name: one for one in pool(sites)}
    assert sum(s.rows for s in sites) == len(whole["age"])
    for name in ("stage", "smoker"):
        assert columns[name].tallies == {word: whole[name].count(word) for word in set(whole[name])}
    for label in ("ill", "well"):
        assert sum(s.classes[label] for s in sites) == whole["outcome"].count(label)
    error = most_error([s.rows for s in sites], [LEAST] * 4)
    assert error == 10 + 10 + 10 + 40  # 2 · 5 at the small sites, 1000/128 → 10, and 5000/128 → 40
    for name in ("age", "dose"):
        values = np.array(whole[name], float)
        present = np.sort(values[~np.isnan(values)])
        points, counts = columns[name].numbers
        assert counts.sum() == len(present)
        assert columns[name].absent == len(values) - len(present)
        below = np.searchsorted(present, points, "right")
        assert np.abs(np.cumsum(counts) - below).max() <= error
        ranks = np.linspace(LEAST, len(present) - 1 - LEAST, 33).round().astype(int)
        knots = points[np.searchsorted(np.cumsum(counts), ranks, "right")]
        assert (present[np.maximum(ranks - error, 0)] <= knots).all()
        assert (knots <= present[np.minimum(ranks + error, len(present) - 1)]).all()
        assert set(np.round(knots)) <= set(column(merged, name).knots)


def test_the_order_of_files_changes_nothing(tmp_path: Path) -> None:
    sites = [statistics(rows, "outcome", client=client) for client, rows in enumerate(parts(0)[:3])]
    extra = site(3, y=[1, 2] * 100, stage=["IV", "I"] * 100)
    for one in (*sites, extra):
        one.save(tmp_path / f"{one.client}.statistics")
    made = set[str]()
    for number, order in enumerate(itertools.permutations(range(4))):
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            merge_statistics([tmp_path / f"{client}.statistics" for client in order], tmp_path / f"{number}.toml")
        made.add((tmp_path / f"{number}.toml").read_text() + "\n".join(str(one.message) for one in notes))
    assert len(made) == 1
    assert from_table(parts(0)[0], "outcome", tmp_path / "0.toml").schema.classes == ("ill", "no", "well", "yes")


def test_a_file_tells_no_value_that_few_rows_have(tmp_path: Path) -> None:
    stages = ["I"] * 95 + ["II"] * 101 + ["secret"] * 4
    labels = ["no"] * 100 + ["yes"] * 96 + ["hidden"] * 4
    told = site(0, stage=stages, age=[*range(199), 7777], labels=labels, few=[1, 2, 3, 4] + [None] * 196)
    told.save(tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    assert b"secret" not in content
    assert b"hidden" not in content
    assert b"7777" not in content
    assert told.classes == {"no": 100, "yes": 96}
    age, few = (next(c for c in told.columns if c.name == name) for name in ("age", "few"))
    assert (age.points[0], min(age.counts)) == (5, 5)
    assert (few.points, few.counts, few.absent) == ((), (), 196)
    assert Statistics.load(tmp_path / "a") == told


def test_what_a_site_leaves_out_is_left_out_of_all_with_its_reason() -> None:
    rows = 200
    a = site(
        0, key=[f"p{i}" for i in range(rows)], same=["x"], where=["here"], one=[3], gone=[None], day=["2024-01-02"]
    )
    b = site(
        1, key=["p1", "p2"] * 100, same=["x"], where=["there"], one=[3, 4] * 100, gone=[None], day=["a", "b"] * 100
    )
    made = merge([a, b])
    assert made.left_out == {
        "key": "each row has a text of its own: an id or a name says nothing about other rows (client 0)",
        "same": "it is constant at all sites: it says nothing",
        "where": "it is constant at each site, so that it names the site: write it by hand where models should know it",
        "gone": "it is empty",
        "day": "it holds dates or times: write a column with an age, a duration or a month instead (client 0)",
    }
    assert column(made, "one") == Column("one", "whole", low=3, high=4, knots=(3, 4))  # constant at one site alone
    ignored = statistics({"x": [1, 2] * 50, "y": [1, 2] * 50}, ["a", "b"] * 50, client=2, ignore=["x"])
    assert merge([ignored]).left_out == {"x": "client 2 leaves it out"}


@pytest.mark.parametrize(
    ("first", "second", "type_"),
    [
        ([1, 2, 3, 4], [0.5, 1.5, 2, 3], "numeric"),
        ([1, 2, 3, 4], [0, 1, 0, 1], "whole"),  # 0 and 1 at one site, more at another
        ([0, 1, 0, 1], ["yes", "no", "no", "yes"], "boolean"),
        ([0, 1, 0, 1], [1, 1, 1, 1], "boolean"),
        (["yes", "no", "no", "yes"], ["yes", "no", "maybe", "maybe"], "category"),
        (["yes", "no", "no", "yes"], ["yes", "yes", "yes", "yes"], "boolean"),
        ([1, 2, 3, 4], ["low", "high", "low", "high"], None),
        (["yes", "no", "no", "yes"], [1, 2, 3, 4], None),
    ],
)
def test_the_type_for_all_sites(first: list[Any], second: list[Any], type_: str | None) -> None:
    made = merge([site(0, x=first * 50, y=[1, 2] * 100), site(1, x=second * 50, y=[1, 2] * 100)])
    turned = merge([site(1, x=first * 50, y=[1, 2] * 100), site(0, x=second * 50, y=[1, 2] * 100)])
    for one in (made, turned):
        if type_ is None:
            assert "write it alike at all sites" in one.left_out["x"]
        else:
            assert column(one, "x").type == type_


def test_what_differs_between_sites_is_told() -> None:
    weights = list(range(50, 100)) * 4
    a = site(0, weight=weights, stage=["I", "I", "II", "II"] * 50, Ward=["n", "s"] * 100)
    b = site(1, weight=weights, stage=["I", "I", "III", "III"] * 50, ward=["n", "S", "s", "n"] * 50)
    c = site(2, weight=[1000 * w for w in weights], stage=["I", "I", "II", "II"] * 50, ward=["n", "s"] * 100)
    made = merge([a, b, c])
    assert "medians 75 at client 0, 75 at client 1, 75000 at client 2): compare the units" in made.remarks["weight"]
    assert made.remarks["stage"] == "client 1 alone has the category III"
    assert made.remarks["Ward"].startswith("clients 1, 2 lack it (there is 'ward': rename it if it is the same), where")
    assert "client 0 alone has it" in made.remarks["Ward"]
    assert "'S' and 's' differ in form alone" in made.remarks["ward"]
    assert column(made, "ward").missing
    assert not column(made, "stage").missing
    assert "weight" not in merge([a, b]).remarks


def test_other_names_of_the_label_and_of_classes() -> None:
    x = {"x": [1, 2] * 100}
    a = statistics({**x, "y": ["no", "yes"] * 100}, "y", client=0)
    b = statistics({**x, "result": ["no", "yes"] * 100}, "result", client=1)
    c = statistics({**x, "y": ["no", "perhaps"] * 100}, "y", client=2)
    with pytest.warns(UserWarning, match="in the column 'y', and at other sites in 'result' .client 1.: these say"):
        made = merge([b, a, c])
    assert (table_of(made.schema).label, made.schema.classes) == ("y", ("no", "perhaps", "yes"))
    assert "client 2 alone has the class perhaps" in made.remarks["y"]
    coded = statistics({**x, "y": [0, 1] * 100}, "y", client=3)
    with pytest.raises(
        UsageError, match="words at client 0 .no, yes. and numbers at client 3 .0, 1.: write them alike"
    ):
        merge([a, coded])
    feature = statistics({**x, "y": [5, 6] * 100, "result": ["no", "yes"] * 100}, "result", client=4)
    with pytest.warns(UserWarning, match="in the column 'result', and at other sites in 'y'"):
        assert "has its classes in a column of this name" in merge([a, b, feature]).left_out["y"]


def test_sites_that_have_no_schema_in_common() -> None:
    one = site(0, x=[1, 2] * 100)
    with pytest.raises(UsageError, match="two files are of client 0: each site has a number of its own"):
        merge([one, one])
    with pytest.raises(UsageError, match="there are no statistics to merge"):
        merge([])
    with pytest.raises(UsageError, match="the sites tell of 1 class in 'label'"):
        merge([site(0, x=[1, 2] * 100, labels=["a"] * 200)])
    with pytest.raises(UsageError, match="no column to learn from .x: it is constant at all sites"):
        merge([site(0, x=[1])])
    assert merge([site(0, x=[1, 2] * 100, labels=["a"] * 200), site(1, x=[1, 2] * 100, labels=["b"] * 200)])


def test_words_for_a_missing_value_that_differ_are_told() -> None:
    a = site(0, x=[1, 2] * 100)
    b = statistics({"x": [-9, 2] * 100}, ["no", "yes"] * 100, client=1, missing=["-9", "NA"])
    with pytest.warns(UserWarning, match="all of these are such .NA, NaN, ., null, -9., also where a site counted one"):
        made = merge([b, a])
    assert table_of(made.schema).missing == ("NA", "NaN", "?", "null", "-9")
    assert column(made, "x").knots == (1, 2)


def test_a_site_of_one_row_tells_nothing_but_names_and_types() -> None:
    told = statistics({"x": [7]}, ["no"], client=1)
    assert (told.classes, told.columns[0].counts, told.columns[0].type) == ({}, (), "whole")
    assert merge([told, site(0, x=[1, 2] * 100)]).schema.classes == ("no", "yes")


def test_a_comma_at_one_site_serves_all() -> None:
    made = merge([site(0, x=["1,5", "2,5"] * 100), site(1, x=["1.5", "3.5"] * 100)])
    assert table_of(made.schema).decimal == ","
    assert column(made, "x").knots == (1.5, 2.5, 3.5)


def test_public_ranges_and_categories_stand_in_the_schema() -> None:
    told = statistics(
        {"age": [30, 40] * 50, "stage": ["I", "II"] * 50},
        ["a", "b"] * 50,
        client=0,
        public={"age": (0, 120), "stage": ["I", "II", "III"]},
    )
    made = mosaic_fl.merge_statistics([told])
    age, stage = table_of(made).columns
    assert (age.low, age.high, age.knots) == (0, 120, (30, 40))
    assert stage.categories == ("I", "II", "III")
    assert ColumnStatistics("stage", "category", public=("III",)).tallies == {}
