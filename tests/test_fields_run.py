"""Samples of several fields from contributions to one model, over files, in Python and on the command line."""

import json
from pathlib import Path

import pytest
import torch

import mosaic_fl
from command import mosaic
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from views import FEW, KINDS, made, only, views

QUICK = [part for name, value in FEW.items() for part in ("--set", f"{name}={value}")]
HELD = {0: ("fusion:8", "left", "right"), 1: ("cnn:4", "left"), 2: ("random_forest:5", "table")}


@pytest.fixture(scope="module")
def data(digits: Dataset) -> Dataset:
    return views(digits, 240)


@pytest.fixture(scope="module")
def clients(data: Dataset) -> list[Contribution]:
    """Three clients: a network of both halves, one of the left half alone, a forest of the table."""
    parts = {k: data.subset(range(80 * k, 80 * k + 80)) for k in HELD}
    return [made(parts[k], k, model, *fields) for k, (model, *fields) in HELD.items()]


@pytest.fixture(scope="module")
def files(clients: list[Contribution], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("contributions")
    paths = [folder / f"{c.client}.contribution" for c in clients]
    for path, contribution in zip(paths, clients, strict=True):
        path.write_bytes(contribution.to_bytes())
    return paths


def test_files_become_a_model_of_any_subset(files: list[Path], data: Dataset, tmp_path: Path) -> None:
    mosaic("distill", *files, "--out", "global", *QUICK, cwd=tmp_path)
    model = GlobalModel.load(tmp_path / "global")
    assert model.architecture == "fusion:128"
    assert model.schema == data.schema
    answers = [model.predict_proba(data.samples[:5].with_fields(fields)) for fields in (["left"], ["table"], KINDS)]
    assert all(torch.allclose(answer.sum(1), torch.ones(5)) for answer in answers)
    assert not torch.equal(answers[0], answers[1])
    result = json.loads((tmp_path / "global" / "result.json").read_text())
    assert result["choice"]["teacher"] == "class_balanced"


def test_a_region_of_such_clients_takes_part_again(
    files: list[Path], clients: list[Contribution], tmp_path: Path
) -> None:
    region = ("--as-contribution", "region.contribution", "--client", "7")
    mosaic("distill", *files[:2], "--out", "global", *QUICK, *region, cwd=tmp_path)
    received = Contribution.load(tmp_path / "region.contribution")
    assert received.fields == ("left", "right")
    model = mosaic_fl.distill([received, clients[2]], settings=FEW)
    assert model.assurance is not None
    assert model.assurance.density is None  # what is strange in several fields is not told
    assert model.architecture == "fusion:128"


@pytest.mark.parametrize("teacher", ["meta", "class_balanced", "class_weighted", "mean_probabilities", "mean_logits"])
def test_every_teacher_teaches_from_those_who_can_read(clients: list[Contribution], teacher: str) -> None:
    model = mosaic_fl.distill(clients, settings={**FEW, "distill.teacher": teacher})
    assert all(bool(tensor.isfinite().all()) for tensor in model.state.values())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"distill.teacher": "gate"}, "distill.teacher is gate, which knows samples by one client"),
        ({"distill.prior": "photos"}, "distill.prior = photos is of one field, and samples have the fields left"),
        ({"experts.kind": "class_average"}, "several architectures|experts.kind = class_average"),
        ({"meta.source": "prototypes"}, "meta.source = prototypes is for one field"),
        ({"models.student": "cnn:8"}, "'cnn:8' reads one field, and samples have left, right, table: name fusion"),
    ],
)
def test_what_there_is_not_for_several_fields_is_refused_before_work(
    clients: list[Contribution], settings: dict[str, str], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        mosaic_fl.distill(clients, settings={**FEW, **settings}, student=settings.get("models.student", ""))


@pytest.fixture(scope="module")
def patchy(data: Dataset) -> Dataset:
    """Every third sample lacks the right half, and every fifth the table."""
    rows = torch.arange(len(data))
    present = {"right": rows % 3 > 0, "table": rows % 5 > 0}
    return Dataset(Samples(KINDS, data.samples.values, present), data.labels, data.schema)


@pytest.mark.parametrize("method", ["mosaic", "fedavg", "fedprox", "class_weighted"])
def test_samples_that_lack_fields_are_learnt_from(patchy: Dataset, method: str) -> None:
    settings = {**FEW, "partition.clients": 2, "rounds.warm_up": int(method.startswith("fed")), "run.workers": 1}
    result = mosaic_fl.run(method, patchy, settings={**settings, "run.centralised": True}).result
    rows = {"+".join(row["fields"]): row for row in result["by_fields"]}
    assert list(rows) == ["left", "right", "table", "left+right", "left+table", "right+table", "left+right+table"]
    assert rows["left+right+table"]["accuracy"] == result["accuracy"]
    assert rows["left+right+table"]["centralised_accuracy"] == result["centralised_accuracy"]
    assert rows["right"]["samples"] < rows["left"]["samples"]


def test_the_same_run_again_is_the_same(patchy: Dataset) -> None:
    settings = {**FEW, "partition.clients": 2, "run.workers": 1}
    first, again = (mosaic_fl.run("mosaic", patchy, settings=settings).model for _ in range(2))
    assert first is not None
    assert again is not None
    assert all(torch.equal(first.state[name], tensor) for name, tensor in again.state.items())


@pytest.mark.parametrize(
    "method", ["dense", "coboosting", "fedcvae", "fens", "feddf", "fedgen", "fedftg", "dfrd", "heterofl"]
)
def test_methods_for_one_field_say_so_before_work(patchy: Dataset, method: str) -> None:
    with pytest.raises(UsageError, match="takes samples of one field, and these have left, right, table"):
        mosaic_fl.run(method, patchy, settings={"partition.clients": 2})


def test_a_client_whose_model_does_not_fit_is_named_before_work(data: Dataset) -> None:
    with pytest.raises(UsageError, match="client 0: model 'cnn:4' reads one field, and this site has left, right"):
        mosaic_fl.run("mosaic", data, settings={"partition.clients": 2, "models.clients": ["cnn:4"]})
    settings = {"partition.clients": 2, "models.clients": ["cnn:4", "fusion:8"], "rounds.warm_up": 1}
    with pytest.raises(UsageError, match="warm_up averages networks that join fields, and model 'cnn:4'"):
        mosaic_fl.run("mosaic", only(data, "left"), settings=settings)
    with pytest.raises(UsageError, match="unknown model 'resnet9'"):
        mosaic_fl.run("mosaic", data, settings={"partition.clients": 2, "models.clients": ["resnet9"]})
