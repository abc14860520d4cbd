"""The summary of several comparisons, with numbers worked out by hand."""

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from mosaic_fl.comparison.grid import CENTRALISED
from mosaic_fl.comparison.interval import estimate
from mosaic_fl.comparison.summary import Competitor, Entry, Point, Points, summarise, to_json
from mosaic_fl.comparison.summary_notes import summary_notes
from mosaic_fl.errors import UsageError
from mosaic_fl.report.comparison_summary import summary_markdown, summary_tables

T1 = math.tan(0.475 * math.pi)  # Student's 0.975 quantiles, in closed form: of 1 degree of freedom,
T2 = 0.95 / math.sqrt(2 * 0.975 * 0.025)  # and of 2
KINDS = {CENTRALISED: "reference", "fens": "real data"}


def at(data: str, rounds: int = 1) -> Point:
    return Point(data, "", 5, "", 0.1, "equal", rounds)


def entries(variant: str = "", **accuracies: float | None) -> dict[Competitor, Entry]:
    """One seed of each method; None: no result."""
    return {
        Competitor(method, variant): Entry(
            KINDS.get(method, "method"),
            {} if accuracy is None else {0: accuracy},
            1,
            reason="out of memory" if accuracy is None else "",
        )
        for method, accuracy in accuracies.items()
    }


# Ranks: 1, 2.5, 2.5 · 2, 1, 3 · 1.5, 3, 1.5. Gaps: −5, −15, −15 · −20, −10, none · −10, −20, −10.
THREE: Points = {
    at("a"): entries(mosaic=90, fedavg=80, dense=80, fens=99, centralised=95),
    at("b"): entries(mosaic=70, fedavg=80, dense=None, fens=99, centralised=90),
    at("c"): entries(mosaic=85, fedavg=75, dense=85, fens=99, centralised=95),
}


def test_an_interval_over_sets_by_hand() -> None:
    # Mean 3. Sums of deviations: −2 + 0, −1, 3; variance 3/2 · (4 + 1 + 9) / 4² = 1.3125.
    found = estimate([("a", 1.0), ("a", 3.0), ("b", 2.0), ("c", 6.0)])
    assert found is not None
    assert (found.mean, found.count, found.sets, found.over) == (3.0, 4, 3, "sets")
    assert (found.low, found.high) == (
        pytest.approx(3 - T2 * math.sqrt(1.3125)), pytest.approx(3 + T2 * math.sqrt(1.3125))
    )  # fmt: skip


def test_with_as_many_cells_in_each_set_it_is_the_interval_of_the_means() -> None:
    cells = [("a", 1.0), ("a", 3.0), ("b", 4.0), ("b", 4.0), ("c", 0.0), ("c", 12.0)]
    means = [("a", 2.0), ("b", 4.0), ("c", 6.0)]
    of_cells, of_means = estimate(cells), estimate(means)
    assert of_cells is not None
    assert of_means is not None
    assert of_means.high == pytest.approx(4 + T2 * 2 / math.sqrt(3))
    assert (of_cells.low, of_cells.high) == (pytest.approx(of_means.low), pytest.approx(of_means.high))


def test_an_interval_over_cells_by_hand() -> None:
    # Two sets are too few: the cells count. Mean 2, standard error √2 / √2.
    found = estimate([("a", 1.0), ("b", 3.0)])
    assert found is not None
    assert (found.over, found.low, found.high) == ("cells", pytest.approx(2 - T1), pytest.approx(2 + T1))
    cut = estimate([("a", 1.0), ("b", 3.0)], 1, 3)
    assert cut is not None
    assert (cut.low, cut.high) == (1, 3)


def test_one_cell_and_cells_without_a_spread_have_no_interval() -> None:
    assert estimate([]) is None
    for figures in ([("a", 2.0)], [("a", 2.0), ("b", 2.0), ("c", 2.0)]):
        found = estimate(figures)
        assert found is not None
        assert (found.mean, found.low, found.high) == (2.0, None, None)


def test_ranks_with_ties_gaps_and_a_missing_result() -> None:
    summary = summarise(THREE)
    assert (summary.sets, summary.cells) == ({"a": 1, "b": 1, "c": 1}, 3)
    mosaic, fedavg, dense = summary.rows
    assert [row.competitor.method for row in summary.rows] == ["mosaic", "fedavg", "dense"]
    assert [row.rank.mean for row in summary.rows if row.rank] == pytest.approx([1.5, 6.5 / 3, 7 / 3])
    assert [row.won for row in summary.rows] == [2, 1, 1]  # the shared one counts for both
    assert [row.cells for row in summary.rows] == [3, 3, 2]
    assert mosaic.gap is not None
    assert mosaic.gap.mean == pytest.approx(-35 / 3)
    # Deviations 20/3, −25/3, 5/3: variance 175/3, of the mean 175/9.
    assert mosaic.gap.high == pytest.approx(-35 / 3 + T2 * math.sqrt(175 / 9))
    assert mosaic.worst is not None
    assert (mosaic.worst.gap, mosaic.worst.cell) == (-20, "b · 5 clients · α = 0.1 · equal · 1 round")
    assert mosaic.rank is not None
    assert (mosaic.rank.low, mosaic.rank.high) == (1, pytest.approx(1.5 + T2 * 0.5 / math.sqrt(3)))
    assert fedavg.rank is not None
    assert fedavg.rank.high == 3  # there is no rank 4
    assert dense.gap is not None
    assert (dense.gap.mean, dense.gap.count, dense.gap.over) == (-12.5, 2, "cells")
    assert [(row.competitor.method, row.rank, row.won) for row in summary.others] == [
        ("fens", None, None), (CENTRALISED, None, None),
    ]  # fmt: skip
    assert summary.others[0].gap is not None
    assert summary.others[0].gap.mean == pytest.approx(17 / 3)
    assert summary.others[1].gap is None


def test_notes_say_what_the_figures_do_not() -> None:
    notes = summary_notes(THREE, summarise(THREE))
    assert notes == [
        "cells: a 1, b 1, c 1",
        "95 % intervals: Student's t over sets, for each figure alone; over the cells of fewer than 3 sets for dense",
        "dense: no result in 1 of 3 cells, ranked last there: out of memory",
    ]
    points = {**THREE, at("c", 2): entries(mosaic=None, fedavg=None, dense=None, fens=50, centralised=None)}
    summary = summarise(points)
    assert [row.rank.mean for row in summary.rows if row.rank] == pytest.approx([1.5, 6.5 / 3, 7 / 3])
    assert [row.cells for row in summary.rows] == [3, 3, 2]
    lines = summary_notes(points, summary)
    assert "1 of 4 cells: no method has a result, so they count for no rank" in lines
    assert "1 of 4 cells have no centralised model: they count for ranks and not for gaps" in lines
    assert "mosaic, fedavg: no result in 1 of 4 cells, ranked last there: out of memory" in lines


def test_a_method_that_one_set_lacks_has_gaps_alone() -> None:
    points = {at("a"): THREE[at("a")], at("b"): entries(mosaic=70, fedavg=80, centralised=90)}
    summary = summarise(points)
    assert [(row.competitor.method, row.rank.mean) for row in summary.rows if row.rank] == [
        ("mosaic", 1.5), ("fedavg", 1.5),
    ]  # fmt: skip
    assert [row.competitor.method for row in summary.others] == ["fens", "dense", CENTRALISED]
    notes = summary_notes(points, summary)
    assert "dense: no rank, because 1 of 2 cells are of comparisons without it" in notes
    assert any("over the cells of 2 sets" in note and "say nothing" in note for note in notes)


def test_no_common_methods_and_no_results() -> None:
    with pytest.raises(UsageError, match="no data-free method is in every comparison: a has mosaic; b has dense"):
        summarise({at("a"): entries(mosaic=1, centralised=2), at("b"): entries(dense=1, centralised=2)})
    with pytest.raises(UsageError, match="no cell has a result of mosaic, the methods in every comparison"):
        summarise({at("a"): entries(mosaic=None, centralised=2)})


def test_gaps_are_of_the_same_seeds_and_ties_are_not_broken_by_rounding() -> None:
    def seeds(**accuracies: float) -> dict[int, float]:
        return {int(seed[1:]): accuracy for seed, accuracy in accuracies.items()}

    point = {
        Competitor("mosaic"): Entry("method", seeds(s0=100 * 0.29, s1=100 * 0.57), 2),
        Competitor("fedavg"): Entry("method", seeds(s0=57, s1=29), 2),
        Competitor(CENTRALISED): Entry("reference", seeds(s1=90), 2),
    }
    assert point[Competitor("mosaic")].accuracy != point[Competitor("fedavg")].accuracy  # in the last digit alone
    summary = summarise({at("a"): point})
    assert [row.rank.mean for row in summary.rows if row.rank] == [1.5, 1.5]
    assert [row.won for row in summary.rows] == [1, 1]
    assert [row.gap.mean for row in summary.rows if row.gap] == pytest.approx([-33, -61])
    notes = summary_notes({at("a"): point}, summary)
    assert "centralised: results of some seeds alone in 1 of 1 cells" in notes


def test_variants_are_paired_by_cell() -> None:
    points = {
        at("a"): entries("old", mosaic=80, dense=70, centralised=90) | entries("new", mosaic=82, centralised=91),
        at("b"): entries("old", mosaic=60, dense=70, centralised=90) | entries("new", mosaic=61, centralised=90),
        at("c"): entries("old", mosaic=75, dense=70, centralised=90) | entries("new", mosaic=75, centralised=90),
    }
    summary = summarise(points)
    assert [(str(row.competitor), row.rank.mean) for row in summary.rows if row.rank] == [
        ("mosaic (new)", pytest.approx(4.5 / 3)), ("mosaic (old)", pytest.approx(6.5 / 3)),
        ("dense (old)", pytest.approx(7 / 3)),
    ]  # fmt: skip
    assert [row.gap.mean for row in summary.rows if row.gap][:2] == pytest.approx([(-9 - 29 - 15) / 3, -55 / 3])
    mosaic, pooled = summary.differences
    assert (str(mosaic.competitor), str(mosaic.against)) == ("mosaic (new)", "mosaic (old)")
    assert (mosaic.better, mosaic.worse) == (2, 0)
    assert mosaic.points is not None
    assert mosaic.points.mean == pytest.approx(1)
    assert mosaic.points.high == pytest.approx(1 + T2 / math.sqrt(3))  # differences 2, 1, 0
    assert pooled.points is not None
    assert pooled.points.mean == pytest.approx(1 / 3)


def test_a_caveat_of_some_cells_is_told_and_not_in_the_name() -> None:
    def with_caveat(point: Point) -> dict[Competitor, Entry]:
        own = THREE[point]
        return {**own, Competitor("mosaic"): replace(own[Competitor("mosaic")], caveat="widths 1, 1/2")}

    some = {**THREE, at("a"): with_caveat(at("a"))}
    assert summarise(some).rows[0].label == "mosaic"
    assert "mosaic: widths 1, 1/2 in 1 of 3 cells" in summary_notes(some, summarise(some))
    every = {point: with_caveat(point) for point in THREE}
    assert summarise(every).rows[0].label == "mosaic (widths 1, 1/2)"


def test_the_tables_fit_80_columns_and_say_the_same() -> None:
    summary = summarise(THREE)
    notes = summary_notes(THREE, summary)
    console = Console(file=io.StringIO(), width=80)
    for table in summary_tables(summary):
        console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert [line.split() for line in shown.splitlines() if "mosaic" in line] == [
        ["mosaic", "3", "1.50", "1.00", "…", "2.74", "2", "−11.7", "−30.6", "…", "+7.3"],
        ["mosaic", "−20.0", "b", "·", "5", "clients", "·", "α", "=", "0.1", "·", "equal", "·", "1", "round"],
    ]
    lines = summary_markdown(summary, notes).splitlines()
    cell = "b · 5 clients · α = 0.1 · equal · 1 round"
    assert f"| mosaic | 3 | 1.50 | 1.00 … 2.74 | 2 | −11.7 | −30.6 … +7.3 | −20.0 | {cell} |" in lines
    assert "| centralised | 3 | – | – | – | – | – | – |  |" in lines
    assert "- cells: a 1, b 1, c 1" in lines
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    content = json.loads(to_json(summary, notes))
    assert content["rows"][0]["rank"]["mean"] == 1.5
    assert content["rows"][2]["gap"]["over"] == "cells"
    assert (content["sets"], content["notes"]) == ({"a": 1, "b": 1, "c": 1}, notes)
