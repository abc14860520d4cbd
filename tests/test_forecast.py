"""Forecasts: counts worked out by hand, sizes beside real files, dry runs that write nothing, results that stay."""

import json
from pathlib import Path

import pytest
import torch

from command import QUICK, fails, mosaic
from mosaic_fl.client.contribute import Site, contribute
from mosaic_fl.config import Config, PrototypesConfig
from mosaic_fl.config.presets import preset_config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.forecast import foresee as foreseeing
from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.clients import rung
from mosaic_fl.forecast.forecast import TOOLS, TOUCHED, Forecast, duration, forecast, makespan, size
from mosaic_fl.forecast.foresee import foresee_run
from mosaic_fl.forecast.measure import Cost, Request, _extrapolate, measure
from mosaic_fl.forecast.plans import plan_contribution, plan_run
from mosaic_fl.forecast.sizes import model_bytes, prototypes
from mosaic_fl.forecast.steptimer import EnoughError, StepTimer
from mosaic_fl.forecast.work import Job, Phase, Plan, Unit
from mosaic_fl.methods import METHODS
from mosaic_fl.models import build
from mosaic_fl.notes import Note
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.runs.runner import prepare, run
from mosaic_fl.training.monitor import Recorder

# 100 samples at two clients alike: 50 each, all for training.
TWO = {
    "data.max_train": 100,
    "data.max_test": 40,
    "data.validation": 0.0,
    "partition.split": "iid",
    "partition.clients": 2,
    "models.clients": ["mlp:8"],
    "models.student": "mlp:8",
    "train.batch_size": 10,
    "train.epochs": 4,
    "train.min_steps": 1,
    "generator.steps": 7,
    "meta.steps": 3,
    "distill.steps": 11,
}


def planned(**settings: object) -> Plan:
    return plan_run(prepare(Config().with_values(TWO | {k.replace("__", "."): v for k, v in settings.items()})))


def test_the_steps_of_a_run_are_counted() -> None:
    plan = planned()
    # 4 passes of ⌈50/10⌉ steps at 2 clients; 7 of each generator; 3 of the meta model; 11 of the student.
    assert plan.steps_by_stage() | {"pool": 0} == {
        "train": 40, "generator": 14, "meta": 3, "pool": 0, "student": 11, "figures": 0, "pictures": 0,
    }  # fmt: skip
    assert (plan.steps, plan.images, plan.clients) == (68, 140, 2)


def test_a_ceiling_has_at_least_as_many_steps_as_the_student() -> None:
    # All 100 samples: 4 passes of 10 steps are more than 11.
    assert planned(run__centralised=True).steps_by_stage()["centralised"] == 40


def test_small_clients_train_for_the_least_steps_and_large_ones_for_the_most() -> None:
    assert planned(train__min_steps=50).steps_by_stage()["train"] == 100
    assert planned(train__max_steps=15).steps_by_stage()["train"] == 30


def test_clients_of_few_samples_train_no_generator() -> None:
    plan = planned(generator__min_samples=51, distill__prior="procedural", distill__prior_pool=30)
    assert plan.steps_by_stage()["generator"] == 0
    assert "meta" not in plan.steps_by_stage()  # which would learn from its samples


def test_rounds_count_all_their_steps_and_bytes() -> None:
    plan = planned(run__method="fedavg", rounds__warm_up=3, rounds__steps=5)
    model = model_bytes("mlp:8", image_schema((1, 8, 8), tuple("0123456789")))
    assert plan.steps == 3 * 2 * 5
    assert (plan.up, plan.down) == (3 * 2 * model, 3 * 2 * model + 2 * model)  # and the result, to each


@pytest.mark.parametrize("method", ["mosaic", "fedgen", "fedcvae", "heterofl", "fens", "best_local"])
def test_the_bytes_that_travel_are_those_foreseen(tmp_path: Path, method: str) -> None:
    few = {"rounds.warm_up": 2, "rounds.steps": 2, "train.max_steps": 5, "distill.pool": 60, "meta.samples": 60}
    same = {"run.method": method, "run.workers": 1, "data.validation": 0.2, "models.clients": ["cnn:8"]}
    named = {"models.student": "cnn:8", "models.ratios": [1.0, 0.5], "prototypes.per_class": 0, "distill.choose": False}
    config = preset_config("default", METHODS[method].defaults).with_values(TWO | few | same | named)
    prepared = prepare(config)
    plan, result = plan_run(prepared), run(prepared, tmp_path / "run")
    assert plan.up == pytest.approx(sum(result["bytes_up"]), rel=0.05)
    assert plan.down == pytest.approx(sum(result["bytes_down"]), rel=0.05)


def test_half_of_the_clients_in_each_round_is_half_of_the_steps() -> None:
    plan = planned(run__method="fedavg", rounds__warm_up=4, rounds__steps=5, rounds__participation=0.5)
    assert plan.steps == 4 * 1 * 5


def test_dense_counts_its_generators_and_passes_over_a_growing_pool() -> None:
    synthesis = {"synthesis__epochs": 3, "synthesis__generator_steps": 4, "synthesis__batch_size": 10}
    dense = {"run__method": "dense", "generator__family": "none", "synthesis__student_steps": 0}
    plan = planned(**dense, **synthesis, synthesis__pool_batch_size=5)
    # 3 · 4 of the generator; passes over 10, 20 and 30 images, 5 at once: 2 + 4 + 6.
    assert plan.steps_by_stage()["dense"] == 12 + 12


def test_what_patience_may_end_early_is_said() -> None:
    assert not planned().early_ends  # no client has a validation split
    assert "train.patience" in planned(data__validation=0.1).early_ends[0]
    assert not planned(data__validation=0.1, train__patience=0).early_ends


@pytest.mark.parametrize(("model", "family"), [("mlp:8", "cvae"), ("cnn:8", "none"), ("resnet8", "dcgan")])
def test_a_contribution_has_the_bytes_foreseen(digits: Dataset, model: str, family: str) -> None:
    values = {"train.max_steps": 1, "generator.steps": 1, "generator.family": family}
    sent = {"prototypes.per_class": 10, "prototypes.min_cluster": 2, "meta.source": "prototypes"}
    config, cpu = Config().with_values(values | sent), torch.device("cpu")
    site = Site(3, digits, model)  # some 160 samples a class: ten clusters of many more than two
    real = len(contribute(site, config, cpu, lambda stage: Recorder()).to_bytes())
    assert plan_contribution(site, config, cpu).up == pytest.approx(real, rel=0.02)


def test_a_global_model_has_the_bytes_foreseen(schema: Schema) -> None:
    for name in ("mlp:8", "cnn:16:2", "resnet18"):
        real = len(GlobalModel(name, schema, copy_state(build(name, schema))).to_bytes())
        assert model_bytes(name, schema) == pytest.approx(real, rel=0.02)


def test_no_prototypes_take_fewer_bytes(digits: Dataset) -> None:
    without, site = Config().with_values({"generator.family": "none"}), Site(0, digits, "mlp:8")
    config = without.model_copy(update={"prototypes": PrototypesConfig(per_class=10)})
    more = [plan_contribution(site, each, torch.device("cpu")).up for each in (config, without)]
    assert more[0] - more[1] == pytest.approx(10 * 10 * (8 * 4 + 8 + 8), abs=20)  # features, label and size


def test_classes_of_few_samples_have_fewer_prototypes() -> None:
    ten = PrototypesConfig(per_class=10, min_cluster=5)
    # None of 4; 6 of 10 clusters that hold just 5 on average; all that hold twice as many.
    assert [prototypes(n, ten) for n in (4, 50, 100, 1000)] == [0, 6, 10, 10]


def test_tasks_are_taken_by_who_is_free() -> None:
    assert makespan([3, 2, 2], 2) == 4  # 3 beside 2 + 2
    assert makespan([3, 2, 2], 1) == 7
    assert makespan([], 2) == 0


def test_memory_is_that_of_the_greediest_clients_side_by_side() -> None:
    large, small = Unit("train", "large", 8), Unit("train", "small", 8)
    clients = {0: [Job("train", small, 1)], 1: [Job("train", large, 1)], 2: [Job("train", small, 1)]}
    costs = {large: Cost(1.0, 500), small: Cost(1.0, 100)}
    plans = [Plan(1, 3, [Phase(clients)], workers=n, largest=7) for n in (1, 2)]
    alone, beside = (forecast(plan, costs, image_schema((1, 2, 2), ("a", "b")), 1000).memory for plan in plans)
    assert alone == 1000 + TOOLS + 500 + 7 * 4
    assert beside == 1000 + TOOLS + 500 + 100 + 2 * (7 * 4 + TOUCHED)


def test_no_more_images_are_tried_than_there_are() -> None:
    images = Unit("forward", "mlp:8")
    assert Plan(1, 1, [Phase({0: [Job("train", images, 5.5)]}, [Job("pool", images, 3)])]).largest_counts == {images: 6}


def test_small_clients_share_measurements() -> None:
    assert [rung(n, 64) for n in (1, 3, 50, 63, 64, 1000)] == [2, 4, 64, 64, 64, 64]


def test_a_cost_goes_on_in_a_line() -> None:
    assert _extrapolate([(2, 1.0, 10), (8, 2.5, 40)], 32, 0) == (8.5, 160)  # a quarter of a second, 5 bytes a sample
    assert _extrapolate([(2, 1.0, 10)], 8, 0) == (4.0, 40)
    assert _extrapolate([(2, 1.0, 10)], 8, 6) == (4.0, 22)  # 6 bytes are the weights', however many samples
    assert _extrapolate([(2, 1.0, 10), (8, 0.8, 9)], 32, 0) == (0.8, 9)  # more samples never take less
    assert _extrapolate([(8, 2.0, 40)], 8, 0) == (2.0, 40)


def test_a_step_timer_leaves_the_first_step_out() -> None:
    watch = StepTimer(60.0, most=3, start=0.0, marks=[5.0, 6.0, 8.0])
    assert watch.step_seconds == 1.5
    with pytest.raises(EnoughError):
        watch.progress(4, 100)
    assert StepTimer(60.0, start=1.0, marks=[5.0]).step_seconds == 4.0
    assert StepTimer(60.0).step_seconds == 0.0


def test_the_line_says_it_all() -> None:
    line = Forecast(1442, 5, 9300, 40.2, 2, 800_000_000, 3_000_000, 600_000, 12_000_000, ()).line
    assert line == (
        "forecast: 1,442 images, 5 clients, 9,300 steps; about 40 s on 2 workers, 800 MB of memory, 3.0 MB up, "
        "600 kB down, 12 MB on disk"
    )
    assert "at most about" in Forecast(1, 1, 1, 1, 1, 1, 1, 1, 1, (), ("patience",)).line
    assert "1 client, 1 step;" in Forecast(1, 1, 1, 1, 1, 1, 1, 1, 1, ()).line


def test_sizes_and_times_in_words() -> None:
    assert [size(n) for n in (0, 999, 1000, 9960, 1_500_000, 2e9, 3e12)] == [
        "0 bytes", "999 bytes", "1.0 kB", "10 kB", "1.5 MB", "2.0 GB", "3.0 TB",
    ]  # fmt: skip
    assert [duration(s) for s in (0, 40, 99, 300, 7200)] == ["1 s", "40 s", "99 s", "5 min", "2.0 h"]


def test_measuring_changes_no_random_state() -> None:
    prepared, before = prepare(Config().with_values(TWO)), torch.get_rng_state()
    coming = foresee_run(prepared)
    assert coming is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert coming.seconds > 0
    assert coming.memory > 50_000_000  # Python and torch alone hold more
    assert json.loads(json.dumps(coming.to_json()))["steps"] == 68


def test_a_short_run_has_no_first_line() -> None:
    assert foresee_run(prepare(Config().with_values(TWO)), first=True) is None


def test_a_step_that_fails_is_told() -> None:
    bench = Bench(Config(), image_schema((1, 8, 8), ("a", "b")), torch.device("cpu"), ["mlp:8"])
    unit = Unit("train", "nothing_of_the_kind", 8)
    with pytest.raises(MosaicError, match="nothing_of_the_kind"):
        measure({unit: Request("client", 0.1, 8)}, 2, bench)


def test_the_first_line_changes_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    models = []
    for name, long in (("with", 0.0), ("without", 1e9)):
        monkeypatch.setattr(foreseeing, "LONG", long)
        few = ("--clients", "2", "--models", "mlp:8", "--student", "mlp:8", "--set", "data.max_train=200")
        mosaic("run", *QUICK, *few, "--out", tmp_path / name, cwd=tmp_path)
        models.append((tmp_path / name / "global_model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_a_forecast_that_fails_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mosaic_fl.cli.forecasting import announce

    def fail() -> None:
        raise MosaicError("a step took too long to be measured")

    with pytest.warns(Note, match="no forecast: a step took too long"):
        announce(fail)


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    said = mosaic("run", *QUICK, "--dry-run", "--out", "deep/er", cwd=tmp_path)
    assert said.startswith("forecast: 1,797 images, 5 clients, ")
    assert "Dry run: nothing was written." in said
    assert list(tmp_path.iterdir()) == []


def test_dry_runs_of_sites_and_server_write_nothing(tmp_path: Path) -> None:
    mosaic("data", "--clients", "2", "--alpha", "5", "--export", "sites", "--out", "split.png", cwd=tmp_path)
    words = ("contribute", "--data", "sites/client-000.parquet", "--model", "mlp:8", "--client", "0", *QUICK)
    assert "1 client, " in mosaic(*words, "--out", "new/a.contribution", "--dry-run", cwd=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sites", "split.png"]
    mosaic(*words, "--out", "a.contribution", cwd=tmp_path)
    assert "1 client, " in mosaic("distill", "a.contribution", *QUICK, "--out", "new", "--dry-run", cwd=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.contribution", "sites", "split.png"]


def test_a_dry_comparison_writes_nothing_and_counts_shared_work_once(tmp_path: Path) -> None:
    words = ("compare", "--seeds", "0", "--architectures", "equal", *QUICK, "--set", "train.max_steps=40")
    both = mosaic(*words, "--methods", "best_local,mean_logits", "--dry-run", cwd=tmp_path)
    # 5 clients of 40 steps: their models are trained once for both methods.
    assert "5 clients, 200 steps;" in both
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--out", "taken"), "taken is not empty"),
        (("run", "--out", "file"), "file is a file"),
        (("run", "--out", "file/below"), "cannot write"),
        (("run", "--models", "cnn:x"), "cnn:x"),
        (("run", "--resume", "--force"), "say one of them"),
        (("contribute", "--data", "none", "--model", "mlp:8", "--client", "0", "--out", "file"), "file exists"),
        (("distill", "missing.contribution", "--out", "new"), "missing.contribution"),
        (("compare", "--methods", "mosaic", "--out", "taken"), "taken is not empty"),
    ],
)
def test_a_dry_run_tells_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *words, "--dry-run")
