"""Statistics and tables of a comparison, with numbers worked out by hand."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from mosaic_fl.comparison.cells import CellResult
from mosaic_fl.comparison.grid import CENTRALISED, Cell, Grid, Setting
from mosaic_fl.comparison.paired import holm, paired
from mosaic_fl.comparison.table import DOUBT_CHOICE, blocks, caveat_of, kind_of, to_csv, to_json
from mosaic_fl.config import Config
from mosaic_fl.methods import METHODS
from mosaic_fl.report.comparison import comparison_picture, comparison_tables, to_markdown
from mosaic_fl.report.figures import number, spread

GRID = Grid(["mosaic", "fedavg", CENTRALISED], [2], [0.1], ["equal", "mixed"], [1, 20], [0, 1, 2])


def at(kind: str, seed: int) -> Setting:
    return Setting(2, 0.1, kind, seed)  # type: ignore[arg-type]


def done(accuracy: float) -> CellResult:
    return CellResult("done", "", accuracy, 1, 2e6, 5e5, 3.0, 120.4, 9.0)


def results() -> dict[Cell, CellResult]:
    found = {}
    for seed, (mosaic, fedavg) in enumerate([(0.90, 0.80), (0.94, 0.81), (0.92, 0.82)]):
        found[Cell(at("equal", seed), "mosaic", 1)] = done(mosaic)
        found[Cell(at("equal", seed), "fedavg", 1)] = done(fedavg)
        found[Cell(at("mixed", seed), "fedavg", 1)] = CellResult("cannot", "needs equal architectures")
    found[Cell(at("equal", 0), CENTRALISED, 1)] = CellResult("done", "", 0.99, 1, server_seconds=4.0)
    return found


def test_paired_differences_by_hand() -> None:
    # d = −10, −13, −10: mean −11; std √((1 + 4 + 1)/2) = √3; t = −11/(√3/√3) = −11 with 2 degrees of freedom.
    # For 2 degrees of freedom P(|T| > t) = 1 − t/√(2 + t²) = 1 − 11/√123 = 0.00816.
    found = paired([80.0, 81.0, 82.0], [90.0, 94.0, 92.0])
    assert found is not None
    assert found.mean == pytest.approx(-11)
    assert found.std == pytest.approx(3**0.5)
    assert found.p == found.p_holm == pytest.approx(1 - 11 / 123**0.5)
    assert found.verdict == "worse"


def test_a_difference_within_noise_by_hand() -> None:
    # d = 1, −1, 3: mean 1, std 2, t = 1/(2/√3) = 0.866; P = 1 − 0.866/√2.75 = 0.478.
    found = paired([51.0, 49.0, 53.0], [50.0, 50.0, 50.0])
    assert found is not None
    assert found.p == pytest.approx(1 - 0.75**0.5 / 2.75**0.5)
    assert found.verdict == "within noise"


def test_pairs_need_both_and_two_of_them() -> None:
    assert paired([None, 50.0], [40.0, None]) is None
    one = paired([None, 50.0], [40.0, 45.0])
    assert one is not None
    assert (one.mean, one.std, one.verdict) == (5.0, None, "one seed: cannot say")


def test_the_same_difference_in_every_seed_is_no_proof() -> None:
    same, shifted = paired([1.0, 2.0], [1.0, 2.0]), paired([90.0, 92.0], [91.0, 93.0])
    assert same is not None
    assert shifted is not None
    assert (same.p, same.verdict) == (1.0, "within noise")
    assert (shifted.mean, shifted.p, shifted.verdict) == (-1.0, None, "no spread: cannot say")
    # As fractions in percent: 100 · 0.29 − 100 · 0.28 and 100 · 0.58 − 100 · 0.57 part in their last digits alone.
    rounded = paired([100 * 0.29, 100 * 0.58], [100 * 0.28, 100 * 0.57])
    assert 100 * 0.29 - 100 * 0.28 != 100 * 0.58 - 100 * 0.57
    assert rounded is not None
    assert (rounded.std, rounded.p) == (0.0, None)


def test_holm_by_hand() -> None:
    # The least of three counts three times, the next twice: 0.03, 0.06; then 0.04, but never less than the one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_what_is_beyond_noise_alone_may_not_be_among_many() -> None:
    # d = 2, 3, 4: mean 3, std 1, t = 3√3; with 2 degrees of freedom p = 1 − √(27/29) = 0.0351, and 0.0702 of two.
    grid = Grid(["mosaic", "fedavg", "fedprox", "fedbn"], [2], [0.1], ["equal"], seeds=[0, 1, 2])
    above = {"mosaic": [0, 0, 0], "fedavg": [2, 3, 4], "fedprox": [2, 3, 4], "fedbn": [1, 1, 1]}
    found = {
        Cell(at("equal", seed), method, 1): done((50 + points[seed]) / 100)
        for method, points in above.items()
        for seed in grid.seeds
    }
    rows = {row.method: row.paired for row in blocks(grid, found)[0].rows if row.paired}
    p = 1 - (27 / 29) ** 0.5
    for method in ("fedavg", "fedprox"):
        assert (rows[method].p, rows[method].p_holm) == (pytest.approx(p), pytest.approx(2 * p))
        assert rows[method].verdict == "better alone, not after Holm"
    assert (rows["fedbn"].p_holm, rows["fedbn"].verdict) == (None, "no spread: cannot say")  # counts for nothing
    alone = blocks(replace(grid, methods=["mosaic", "fedavg"]), found)[0].rows[0].paired
    assert alone is not None
    assert alone.verdict == "better"


def test_a_row_says_what_sets_its_conditions_apart() -> None:
    grid = Grid(["mosaic", "heterofl", "fedavg"], [2, 5], [0.1], ["equal"], preset="natural")
    found = {Cell(replace(at("equal", 0), clients=clients), "mosaic", 1): done(0.5) for clients in (2, 5)}
    two, five = blocks(grid, found)
    assert [row.label for row in two.rows] == [
        "mosaic (chosen on validation splits)", "heterofl (widths 1, 1/2)", "fedavg",
    ]  # fmt: skip
    assert [row.caveat for row in five.rows] == ["chosen on validation splits", "widths 1 … 1/16", ""]
    assert (five.rows[0].kind, five.against) == ("method", "mosaic")  # no image leaves a client: still data-free
    assert "| mosaic (chosen on validation splits) | 50.0 " in to_markdown([five])
    assert next(csv.DictReader(io.StringIO(to_csv([five]))))["caveat"] == "chosen on validation splits"
    assert blocks(replace(grid, values={"mosaic:distill.choose": False}), found)[0].rows[0].caveat == ""


def test_a_row_names_a_budget_of_its_own() -> None:
    """Of the clients' work: what a server does may differ from paper to paper."""
    values = {"fedavg:train.max_steps": 500, "fedavg:rounds.participation": 0.5, "mosaic:distill.steps": 9}
    grid = Grid(["mosaic", "fedavg"], [2], [0.1], ["equal"], values=values)
    rows = {row.method: row.caveat for row in blocks(grid, {})[0].rows}
    assert rows == {"mosaic": DOUBT_CHOICE, "fedavg": "own rounds.participation 0.5, train.max_steps 500"}


def test_a_title_names_the_split_and_no_alpha_where_there_is_none() -> None:
    def title(**values: object) -> str:
        named = {f"partition.{key}": value for key, value in values.items()}
        return blocks(Grid(["mosaic"], [2], [0.1], ["equal"], values=named), {})[0].title

    assert title() == "2 clients · α = 0.1 · equal architectures · 1 round"
    assert title(split="iid") == "2 clients · iid · equal architectures · 1 round"
    assert title(split="quantity_skew") == "2 clients · quantity_skew, α = 0.1 · equal architectures · 1 round"


@pytest.mark.parametrize(
    ("method", "values", "words"),
    [
        ("heterofl", {"models.ratios": [1.0]}, ""),
        ("fedrolex", {"models.ratios": [0.25, 0.5, 1.0, 0.5]}, "widths 1 … 1/4"),
        ("fedrolex", {"models.ratios": [0.5]}, "width 1/2"),
        ("dfrd", {"rounds.warm_up": 1}, ""),
        ("dfrd", {"rounds.kind": "heterofl", "rounds.warm_up": 1}, "widths 1 … 1/16"),
        ("mosaic", {"rounds.kind": "fedrolex", "rounds.warm_up": 0}, DOUBT_CHOICE),
        ("mosaic", {"distill.choose": False}, ""),
        (
            "mosaic",
            {"rounds.kind": "fedrolex", "rounds.warm_up": 1, "distill.choose": True},
            "chosen on validation splits; widths 1 … 1/16",
        ),
        ("dense", {"distill.choose": True}, ""),  # nothing that it does reads this setting
        ("fens", {}, "not data-free"),
        ("best_local", {}, "chosen on validation splits"),
        (CENTRALISED, {}, ""),
        ("afl", {}, "public encoder"),  # it takes nothing else
    ],
)
def test_caveats_follow_the_configuration(method: str, values: dict[str, object], words: str) -> None:
    assert caveat_of(method, Config().with_values(values)) == words


def test_rows_are_means_over_seeds() -> None:
    first = blocks(GRID, results())[0]
    assert (first.against, first.rounds, first.architectures) == ("mosaic", 1, "equal")
    mosaic, fedavg, pooled = first.rows
    assert (mosaic.method, fedavg.method, pooled.method) == ("mosaic", "fedavg", CENTRALISED)
    assert mosaic.accuracy == pytest.approx(92)
    assert mosaic.accuracy_std == pytest.approx(2)  # √((4 + 4 + 0)/2)
    assert (mosaic.seeds, mosaic.models_served, mosaic.megabytes_up, mosaic.megabytes_down) == (3, 1, 2.0, 0.5)
    assert (mosaic.client_seconds, mosaic.server_seconds) == (3.0, pytest.approx(120.4))
    assert mosaic.paired is None
    assert fedavg.paired is not None
    assert fedavg.paired.mean == pytest.approx(-11)
    assert (pooled.kind, pooled.megabytes_up, pooled.note) == ("reference", None, "1 of 3 seeds")
    assert pooled.paired is not None
    assert pooled.paired.verdict == "one seed: cannot say"


def test_what_ran_once_stands_in_every_group_of_rounds() -> None:
    one, many, *mixed = blocks(GRID, results())
    assert [row.method for row in many.rows] == ["mosaic", "fedavg", CENTRALISED]
    assert many.rows[2].accuracy == one.rows[2].accuracy == pytest.approx(99)
    assert many.rows[2].rounds == 1
    assert many.rows[0].note == "not run yet"
    assert mixed[0].rows[1].note == "needs equal architectures"


def test_without_mosaic_the_best_honest_one_model_method_is_measured_against(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an ensemble, not what needs real data, not a reference line."""
    cards = {"fedbn": {}, "fens": {"real_data": True}, "best_local": {"reference": True}, "fedrs": {}}
    for name, changes in cards.items():
        monkeypatch.setitem(METHODS, name, replace(METHODS["fedavg"], **changes))
    grid = Grid(["fedavg", *cards], [2], [0.1], ["equal"])
    accuracies = {"fedavg": 0.5, "fedbn": 0.9, "fens": 0.95, "best_local": 0.97, "fedrs": 0.6}
    found = {Cell(at("equal", 0), name, 1): done(value) for name, value in accuracies.items()}
    ensemble = Cell(at("equal", 0), "fedbn", 1)
    found[ensemble] = replace(found[ensemble], models_served=2)
    block = blocks(grid, found)[0]
    assert block.against == "fedrs"
    assert [row.method for row in block.rows] == ["fens", "fedbn", "fedrs", "fedavg", "best_local"]
    assert [kind_of(name) for name in ("fens", "best_local", CENTRALISED, "mosaic")] == [
        "real data", "reference", "reference", "method",
    ]  # fmt: skip
    assert block.rows[0].label == "fens (not data-free)"
    assert "fens (not data-free)" in to_markdown([block])


def test_a_failed_cell_says_why() -> None:
    found = results() | {Cell(at("equal", 2), "fedavg", 1): CellResult("failed", "out of memory")}
    row = blocks(GRID, found)[0].rows[1]
    assert (row.seeds, row.note) == (2, "2 of 3 seeds; failed: out of memory")


def test_markdown_csv_and_json_say_the_same() -> None:
    tables = blocks(GRID, results())
    lines = to_markdown(tables).splitlines()
    assert "### 2 clients · α = 0.1 · equal architectures · 1 round" in lines
    assert f"| mosaic ({DOUBT_CHOICE}) | 92.0 ± 2.0 | 1 | 1 | 2.00 | 0.50 | 3.00 | 120 |  |  |" in lines
    assert "| fedavg | 81.0 ± 1.0 | 1 | 1 | 2.00 | 0.50 | 3.00 | 120 | −11.0 ± 1.7 | worse |" in lines
    assert "| fedavg | – | – | – | – | – | – | – | – | needs equal architectures |" in lines
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1

    read = list(csv.DictReader(io.StringIO(to_csv(tables))))
    assert len(read) == 4 * 3
    assert float(read[1]["difference"]) == pytest.approx(-11)
    content = json.loads(to_json(tables, results()))
    assert [row["method"] for row in content["tables"]] == [row["method"] for row in read]
    assert len(content["cells"]) == len(results())


def test_figures_as_text() -> None:
    assert [number(v) for v in (None, 0.0004, 0.345, 4.128, 12.34, 99.6, 12345.6)] == [
        "–",
        "<0.01",
        "0.34",
        "4.13",
        "12.3",
        "100",
        "12,346",
    ]
    assert spread(None, None) == "–"
    assert spread(-1.25, 0.5, sign=True) == "−1.2 ± 0.5"
    assert spread(97.75, None) == "97.8"


def test_tables_fit_80_columns_and_the_picture_is_drawn(tmp_path: Path) -> None:
    tables = blocks(GRID, results())
    console = Console(file=io.StringIO(), width=80)
    for table in comparison_tables(tables):
        console.print(table)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "92.0 ± 2.0" in shown
    assert "−11.0 ± 1.7" in shown
    assert "fedavg: needs equal architectures" in shown
    comparison_picture(tables, tmp_path / "compare.png")
    with Image.open(tmp_path / "compare.png") as picture:
        assert 1000 < picture.size[0] < 6000
