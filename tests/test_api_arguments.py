"""What the library's functions are given that is not what it should be: one line each, before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mosaic_fl
from mosaic_fl.data.arrays import from_arrays
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note

FEW = {
    "partition.clients": 2, "partition.alpha": 1.0, "train.max_steps": 3, "train.min_steps": 3, "run.workers": 1,
    "models.student": "mlp:4",
}  # fmt: skip
SITE = {"train.max_steps": 3, "train.min_steps": 3, "generator.family": "none"}


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    return digits.subset(range(200))


def run(train: Any, method: Any = "mean_logits", settings: Any = None, **more: Any) -> Any:
    return mosaic_fl.run(method, train, settings=FEW if settings is None else settings, **more)


def compare(train: Any, methods: Any = ("mean_logits",), settings: Any = None, **more: Any) -> Any:
    values = {name: value for name, value in FEW.items() if not name.startswith("partition.")}
    return mosaic_fl.compare(methods, train, settings=values if settings is None else settings, **more)


@pytest.mark.parametrize("function", [run, compare])
def test_data_that_are_none(few: Dataset, function: Callable[..., Any]) -> None:
    for wrong in (few.images.numpy(), few.images, (few.images, few.labels), few.samples, None):
        with pytest.raises(UsageError, match="train is of type .*, not a Dataset: from_arrays"):
            function(wrong)
        if wrong is not None:
            with pytest.raises(UsageError, match="test is of type .*, not a Dataset"):
                function(few, test=wrong)
    for empty in ({"train": few.subset([])}, {"train": few, "test": few.subset([])}):
        with pytest.raises(UsageError, match="(train|test) has no samples"):
            function(**empty)
    with pytest.raises(UsageError, match="images has no samples"):
        mosaic_fl.contribute(few.subset([]), model="mlp:4", client=0)


@pytest.mark.parametrize("function", [run, compare])
@pytest.mark.parametrize("settings", [["train.lr"], {1: 2}, "train.lr", 3])
def test_settings_that_are_none(few: Dataset, function: Callable[..., Any], settings: Any) -> None:
    for use in (function, mosaic_fl.contribute):
        with pytest.raises(UsageError, match="settings are .*, but they should be a dictionary"):
            use(few, settings=settings, **({"model": "mlp:4", "client": 0} if use is mosaic_fl.contribute else {}))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"method": ["fedavg"]}, "run.method is .*, but it should be text"),
        ({"method": None}, "run.method is None"),
        ({"settings": FEW | {"run.method": "fedavg"}}, "the method is mean_logits, and run.method in settings fedavg"),
        ({"settings": FEW | {"run.engine": "flower"}}, "run.engine = flower: its clients read the data themselves"),
        ({"out": 3}, "out is 3, but it should be the path"),
        ({"out": "a\0b"}, "no file can have that name"),
    ],
)
def test_a_run_that_cannot_be(few: Dataset, more: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        run(few, **more)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"methods": "fedavg"}, "methods is 'fedavg', but it should be a list"),
        ({"methods": [3]}, "one of methods is 3, but it should be text"),
        ({"clients": "2"}, "clients is '2', but it should be a whole number"),
        ({"clients": [2]}, "clients is .2., but"),
        ({"alphas": 0.1}, "alphas is 0.1, but it should be a list"),
        ({"alphas": ["a"]}, "one of alphas is 'a', but it should be a number"),
        ({"alphas": [True]}, "one of alphas is True"),
        ({"architectures": "equal"}, "architectures is 'equal', but it should be a list"),
        ({"rounds": 3}, "rounds is 3, but it should be a list"),
        ({"rounds": ["3"]}, "one of rounds is '3'"),
        ({"seeds": 0}, "seeds is 0, but it should be a list"),
        ({"seeds": [0.5]}, "one of seeds is 0.5"),
        ({"seeds": {0: 1}}, "seeds is {0: 1}, but it should be a list"),
    ],
)
def test_a_comparison_that_cannot_be(few: Dataset, more: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        compare(few, **more)


def test_axes_of_numpy_and_iterators_are_lists(few: Dataset) -> None:
    axes = {"clients": np.int64(2), "alphas": np.array([1.0]), "seeds": iter(range(1)), "rounds": np.array([1])}
    (row,) = compare(few, np.array(["mean_logits"]), **axes)
    setting = (row["clients"], row["alpha"], row["seed"], row["rounds"])
    assert (row["status"], row["method"], setting) == ("done", "mean_logits", (2, 1.0, 0, 1))
    assert {type(row[name]) for name in ("clients", "seed", "rounds")} == {int}


def test_settings_of_data_that_nobody_reads_are_told(few: Dataset, tmp_path: Path) -> None:
    wrong = {"data.max_train": 10, "data.name": "elsewhere", "data.validation": 0.2}
    with pytest.warns(Note, match="run takes its data from train and test: .* no use for data.max_train, data.name$"):
        ran = run(few, settings=FEW | wrong, out=tmp_path / "run")
    assert sum(ran.result["samples"]) > 10
    assert ran.result["data"] == "arrays"
    assert 'name = "arrays"' in (tmp_path / "run" / "config.toml").read_text()
    with pytest.warns(Note, match="compare takes its data from train and test: it has no use for data.max_train$"):
        compare(few, clients=2, alphas=[1.0], settings={**SITE, "data.max_train": 10, "models.student": "mlp:4"})
    with pytest.warns(Note, match="it has no use for partition.clients"):
        mosaic_fl.contribute(few, model="mlp:4", client=0, settings={**SITE, "partition.clients": 2})


def test_contributions_that_are_none(few: Dataset) -> None:
    made = mosaic_fl.contribute(few, model="mlp:4", client=0, settings=SITE)
    for wrong in (made, "a.contribution", made.to_bytes(), None, 3):
        with pytest.raises(UsageError, match="contributions are of type .*, not a list of Contribution"):
            mosaic_fl.distill(wrong)  # type: ignore[arg-type]
    for each in ("a.contribution", made.to_bytes(), few):
        with pytest.raises(UsageError, match="is no Contribution: Contribution.load"):
            mosaic_fl.distill([made, each])  # type: ignore[list-item]


def test_a_device_of_torch_is_as_good_as_its_name(few: Dataset) -> None:
    named, meant = (
        mosaic_fl.contribute(few, model="mlp:4", client=0, settings=SITE, device=device)
        for device in ("cpu", torch.device("cpu"))
    )
    assert named.to_bytes() == meant.to_bytes()


@pytest.mark.parametrize(
    "classes", [10.0, True, "abcdefghij", {f"c{k}" for k in range(10)}, dict.fromkeys("abc"), b"ab", object()]
)
def test_classes_without_an_order_or_a_number(few: Dataset, classes: Any) -> None:
    with pytest.raises(UsageError, match="classes is .*: give how many there are, or a list of their names, in order"):
        from_arrays(few.images, few.labels, classes)


@pytest.mark.parametrize("classes", [1, 0, -3, np.int64(0)])
def test_fewer_classes_than_two(few: Dataset, classes: int) -> None:
    with pytest.raises(UsageError, match="classes is .*: give how many there are in the whole federation, 2 or more"):
        from_arrays(few.images, few.labels, classes)


@pytest.mark.parametrize("value_range", [(0,), (0, 1, 2), ("a", "b"), "01", 5, (None, None), (0, float("nan"))])
def test_a_range_that_is_none(few: Dataset, value_range: Any) -> None:
    with pytest.raises(UsageError, match="value_range is .*: give two numbers, .black, white."):
        from_arrays(few.images / 255, few.labels, 10, value_range)


def test_a_data_set_of_something_else(few: Dataset) -> None:
    for samples, labels in ((few.images, few.labels), (few.samples, few.labels.tolist()), (few.samples, None)):
        with pytest.raises(UsageError, match="a Dataset is of Samples and a tensor of labels, not .*: from_arrays"):
            Dataset(samples, labels, few.schema)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="samples have the fields picture, not image"):
        Samples(few.schema.fields, {"picture": few.images})


def test_a_subset_by_truth_values(few: Dataset) -> None:
    """They are no numbers of samples: 0 and 1, again and again."""
    even = few.labels % 2 == 0
    for mask in (even, even.numpy(), even.tolist()):
        assert torch.equal(few.subset(mask).labels, few.labels[even])
    for wrong in (even[:10], [0.5], torch.tensor([1.0])):
        with pytest.raises(UsageError, match="indices are .*: give whole numbers, or 200 truth values"):
            few.subset(wrong)  # type: ignore[arg-type]
    assert few.subset(range(3)).labels.tolist() == few.subset(np.array([0, 1, 2], np.uint8)).labels.tolist()
    assert len(few.subset([])) == 0


def test_a_tensor_without_values(few: Dataset) -> None:
    with pytest.raises(UsageError, match="images and labels must be arrays"):
        from_arrays(torch.zeros(2, 8, 8, device="meta"), [0, 1])


def test_a_table_is_no_images() -> None:
    frame = pd.DataFrame({"age": [31, 54]})
    for call in (
        lambda: mosaic_fl.contribute(frame, [0, 1], model="mlp:8", client=0),  # type: ignore[arg-type]
        lambda: mosaic_fl.contribute(frame, model="mlp:8", client=0),  # type: ignore[arg-type]
        lambda: from_arrays({"age": [31, 54]}, [0, 1]),  # type: ignore[arg-type]
    ):
        with pytest.raises(UsageError, match="this is a table: mosaic_fl.from_table"):
            call()
