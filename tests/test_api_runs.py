"""`mosaic_fl.run` and `mosaic_fl.compare`: simulations on a user's own arrays."""

from pathlib import Path

import pytest
import torch

import mosaic_fl
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.folder_lock import occupied

FEW = {
    "partition.clients": 2, "partition.alpha": 1.0, "train.max_steps": 10, "train.min_steps": 10, "run.workers": 1,
    "models.student": "mlp:8", "generator.steps": 5, "generator.width": 4, "meta.steps": 5, "distill.steps": 10,
    "distill.pool": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    return digits.subset(range(300))


def test_a_run_gives_the_model_its_figures_and_the_same_again(few: Dataset, tmp_path: Path) -> None:
    ran = mosaic_fl.run("fedavg", few, settings=FEW, out=tmp_path / "run")
    assert ran.model is not None
    assert (ran.result["method"], ran.result["clients"], ran.result["data"]) == ("fedavg", 2, "arrays")
    assert repr(ran).startswith("Run(FedAvg, accuracy 0.")
    assert (tmp_path / "run" / "result.json").exists()
    assert occupied(tmp_path / "run") is False  # the notebook lives on, and the command may go on with it
    again = mosaic_fl.run("fedavg", few, settings=FEW)
    assert again.model is not None
    assert again.model.to_bytes() == ran.model.to_bytes()


def test_test_data_are_measured_on_and_nothing_else(few: Dataset, digits: Dataset) -> None:
    test = digits.subset(range(300, 400))
    ran = mosaic_fl.run("mosaic", few, test, settings=FEW)
    assert ran.model is not None
    assert ran.model.evaluate(test).accuracy == pytest.approx(ran.result["accuracy"])
    assert sum(ran.result["samples"]) == 300


def test_a_method_that_serves_all_models_has_no_global_one(few: Dataset) -> None:
    ran = mosaic_fl.run("mean_logits", few, settings=FEW)
    assert (ran.model, ran.result["models_served"]) == (None, 2)


def test_several_methods_on_the_same_data(few: Dataset) -> None:
    settings = {name: value for name, value in FEW.items() if not name.startswith("partition")}
    rows = mosaic_fl.compare(["fedavg", "mean_logits", "centralised"], few, clients=2, alphas=[1.0], settings=settings)
    assert [(row["method"], row["status"]) for row in rows] == [
        ("fedavg", "done"), ("mean_logits", "done"), ("centralised", "done"),
    ]  # fmt: skip
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_the_user_s_threads_are_theirs_again(few: Dataset) -> None:
    settings = {name: value for name, value in FEW.items() if not name.startswith("partition")}
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        mosaic_fl.run("mean_logits", few, settings=FEW)
        assert torch.get_num_threads() == before + 1
        mosaic_fl.compare(["mean_logits"], few, clients=2, alphas=[1.0], settings=settings)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_what_is_wrong_is_told_before_any_work(few: Dataset) -> None:
    with pytest.raises(UsageError, match="unknown run.method 'fedavgg': did you mean fedavg"):
        mosaic_fl.run("fedavgg", few)
    other = image_schema((1, 8, 8), tuple("abcdefghij"))
    with pytest.raises(UsageError, match="the test data have the classes a, b"):
        mosaic_fl.run("fedavg", few, Dataset(few.samples, few.labels, other))
    lonely = few.subset(torch.tensor([0, 1, 2]))
    with pytest.raises(UsageError, match="too few to set a fifth aside"):
        mosaic_fl.run("fedavg", lonely)
