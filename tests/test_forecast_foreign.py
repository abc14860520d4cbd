"""Forecasts with models that are no networks: their fits are timed, and what is not counted is said."""

import pytest

pytest.importorskip("onnxruntime", reason="mosaic-fl[trees] is not installed")
pytest.importorskip("skl2onnx", reason="mosaic-fl[trees] is not installed")

import mosaic_fl
from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset, Splits
from mosaic_fl.forecast import foreign
from mosaic_fl.forecast.budget import within
from mosaic_fl.forecast.forecast import Forecast, StageForecast
from mosaic_fl.forecast.foresee import foresee_contribution, foresee_run
from mosaic_fl.models import trust
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.runs.runner import prepare

QUICK = {
    "partition.clients": 2, "partition.alpha": 5.0, "run.workers": 1, "generator.family": "none", "meta.steps": 20,
    "distill.prior": "uniform", "distill.prior_pool": 300, "distill.steps": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def rows() -> Dataset:
    columns = {name: [float((7 * n * n + shift) % 61) / 3 for n in range(240)] for shift, name in enumerate("abc")}
    return mosaic_fl.from_table(columns, ["yes" if value > 10 else "no" for value in columns["a"]])


def dry_run(rows: Dataset, clients: str, student: str) -> Forecast:
    config = Config().with_values({**QUICK, "models.clients": clients.split(","), "models.student": student})
    made = foresee_run(prepare(config, Splits("rows", rows, rows)))
    assert made is not None
    return made


def test_trees_at_the_clients_and_as_the_student(rows: Dataset) -> None:
    made = dry_run(rows, "random_forest:8,logistic", "xgboost:8")
    stages = {stage.name: stage for stage in made.stages}
    assert stages["fit"].seconds > 0
    assert stages["boosting student"].seconds > 0
    assert stages["fit"].steps == stages["boosting student"].steps == 0
    assert made.not_counted == (
        "the bytes of clients' models that are no networks (logistic, random_forest:8)",
        "the bytes of the global model (xgboost:8)",
    )


def test_a_black_box_beside_a_network(rows: Dataset) -> None:
    made = dry_run(rows, "answers:random_forest:8,mlp:8", "mlp:8")
    assert made.not_counted == ("what black boxes take to answer, and the bytes of queries and answers",)
    assert "fit" not in {stage.name for stage in made.stages}


def test_one_site_with_a_forest(rows: Dataset) -> None:
    config = Config().with_values(QUICK)
    made = foresee_contribution(Site(0, rows, trust("random_forest:8")), config, find_device("cpu"))
    assert made is not None
    assert "fit" in {stage.name for stage in made.stages}


def test_a_run_with_trees_has_no_first_line(rows: Dataset) -> None:
    config = Config().with_values({**QUICK, "models.clients": ["random_forest:8"], "models.student": "mlp:8"})
    assert foresee_run(prepare(config, Splits("rows", rows, rows)), first=True) is None


def test_two_small_fits_say_what_a_tree_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 2 trees 1 s and with 12 of them 2 s, 100 trees take 1 + 98 · 0.1 s."""
    seconds = iter([1.0, 2.0])
    names = list[str]()

    def fit(work: object) -> float:
        work()  # type: ignore[operator]
        return next(seconds)

    monkeypatch.setattr(foreign, "_seconds", fit)
    assert foreign._of_all_trees("xgboost", names.append) == pytest.approx(10.8)
    assert names == ["xgboost:1", "xgboost:2", "xgboost:12"]


def test_a_limit_of_time_shrinks_steps_and_no_fits() -> None:
    """Of 17 s that are planned for a third of a minute, 7 are fits: 10 s are for steps that take 20."""
    stages = [StageForecast("fit", 0, 7.0), StageForecast("student", 1200, 20.0)]
    usual = Config()
    config = within(usual, stages, 20 / 60)
    assert config.distill.steps == usual.distill.steps // 2
    only_trees = [StageForecast("fit", 0, 7.0), StageForecast("student", 0, 0.0), StageForecast("pool", 0, 0.1)]
    assert within(usual, only_trees, 20 / 60).distill.terms == usual.distill.terms
