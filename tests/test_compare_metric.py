"""Comparisons of tables: figures beside the accuracy, and the metric by which methods are ordered and compared."""

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from mosaic_fl.comparison.cells import CellResult
from mosaic_fl.comparison.grid import Cell, Grid
from mosaic_fl.comparison.table import blocks, to_csv
from mosaic_fl.errors import UsageError
from mosaic_fl.report.comparison import comparison_tables, to_markdown
from test_compare_table import GRID, at, done


def of_rows(accuracy: float, auroc: float, loss: float) -> CellResult:
    quality = {"auroc": auroc, "balanced_accuracy": accuracy - 0.1, "log_loss": loss, "ece": 0.1}
    return replace(done(accuracy), quality=quality)


def test_rows_of_tables_have_more_columns_and_are_compared_by_the_metric() -> None:
    """FedAvg is 2 points better by accuracy, and 10, 12 and 11 worse by AUROC."""
    grid = Grid(["mosaic", "fedavg"], [2], [0.1], ["equal"], seeds=[0, 1, 2], metric="auroc")
    cells = dict[Cell, CellResult]()
    for seed, (mosaic, fedavg) in enumerate([(0.90, 0.80), (0.94, 0.82), (0.92, 0.81)]):
        cells[Cell(at("equal", seed), "mosaic", 1)] = of_rows(0.90, mosaic, 0.2 + seed / 10)
        cells[Cell(at("equal", seed), "fedavg", 1)] = of_rows(0.92, fedavg, 0.5)
    (block,) = blocks(grid, cells)
    assert [row.method for row in block.rows] == ["mosaic", "fedavg"]
    first, second = block.rows
    assert (first.auroc, first.auroc_std) == (pytest.approx(92), pytest.approx(2))
    assert (first.balanced_accuracy, first.log_loss) == (pytest.approx(80), pytest.approx(0.3))
    assert second.paired is not None
    assert second.paired.mean == pytest.approx(-11)
    text = to_markdown([block])
    assert "| method | accuracy % | AUROC % | balanced % | log-loss | models |" in text
    assert "against mosaic by AUROC" in text
    assert "| 90.0 ± 0.0 | 92.0 ± 2.0 | 80.0 ± 0.0 | 0.300 | 1 |" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    line = next(csv.DictReader(io.StringIO(to_csv([block]))))
    assert (float(line["auroc"]), float(line["log_loss"])) == (pytest.approx(92), pytest.approx(0.3))
    (by_accuracy,) = blocks(replace(grid, metric="accuracy"), cells)
    assert [row.method for row in by_accuracy.rows] == ["fedavg", "mosaic"]
    console = Console(record=True, width=80, file=io.StringIO())
    for table in comparison_tables([block]):
        console.print(table)
    shown = console.export_text()
    assert "predictions, ordered by AUROC" in shown
    assert "90.0 ± 0.0  92.0 ± 2.0  80.0 ± 0.0     0.300" in shown
    assert "the difference to mosaic by AUROC, in points" in shown


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown metric 'auc'"):
        replace(GRID, metric="auc")
