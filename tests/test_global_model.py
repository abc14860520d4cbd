"""The global model as a value in Python: predictions, how good they are, files, and what is said of it in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mosaic_fl
from mosaic_fl.domains.dataset import Splits, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import Evaluation, GlobalModel
from mosaic_fl.models import build, trust
from mosaic_fl.storage import container

COLOUR = image_schema((3, 4, 5), ("cat", "dog", "owl"))
GREY = image_schema((1, 4, 5), ("cat", "dog", "owl"))


def model_of(schema: Schema, architecture: str = "mlp:4") -> GlobalModel:
    torch.manual_seed(0)
    return GlobalModel(architecture, schema, build(architecture, schema).state_dict())


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(20, 3))


def brightness() -> GlobalModel:
    """Dark images are cats, bright ones owls, and none are dogs: logits are (−s, −1000, s) for the sum s of pixels."""
    weight = torch.tensor([[-1.0], [0.0], [1.0]]).expand(3, 20).clone()
    state = {"module.1.weight": weight, "module.1.bias": torch.tensor([0.0, -1000.0, 0.0])}
    return GlobalModel(trust(linear), GREY, state)


def pixels(n: int, schema: Schema) -> torch.Tensor:
    return torch.randint(0, 256, (n, *schema.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def layouts(images: torch.Tensor) -> dict[str, tuple[Any, dict[str, Any]]]:
    """The same images in every form that is taken, with what must be said of it."""
    array, unit = images.numpy(), {"value_range": (0, 1)}
    forms: dict[str, tuple[Any, dict[str, Any]]] = {
        "channels first": (images, {}),
        "numpy": (array, {}),
        "channels last": (array.transpose(0, 2, 3, 1), {}),
        "floats": (images.double() / 255, unit),
        "floats in −1..1": (array / 127.5 - 1, {"value_range": (-1 - 1e-9, 1 + 1e-9)}),
        "lists": (array.tolist(), {"value_range": (0, 255)}),
        "backwards": (array[::-1].copy()[::-1], {}),
        "with a gradient": ((images.double() / 255).requires_grad_(), unit),
    }
    if images.shape[1] == 1:
        forms["no channels"] = (array[:, 0], {})
    return forms


@pytest.mark.parametrize("schema", [GREY, COLOUR])
def test_every_layout_of_contribute_is_taken(schema: Schema) -> None:
    model, images = model_of(schema), pixels(6, schema)
    expected = model.logits(images)
    for name, (form, said) in layouts(images).items():
        assert torch.equal(model.logits(form, **said), expected), name
        assert torch.equal(model.predict(form, **said), expected.argmax(1)), name
        assert torch.equal(model.predict_proba(form, **said), expected.softmax(1)), name
    assert torch.equal(
        model.predict(image_dataset(images, torch.zeros(6, dtype=torch.int64), schema)), expected.argmax(1)
    )


@pytest.mark.parametrize("schema", [GREY, COLOUR])
def test_one_image_is_one_row(schema: Schema) -> None:
    model, image = model_of(schema), pixels(1, schema)[0]
    expected = model.predict_proba(image[None])
    forms = [image, image.permute(1, 2, 0), *([image[0]] if schema is GREY else [])]
    for form in forms:
        assert torch.equal(model.predict_proba(form), expected)
    assert expected.shape == (1, 3)


def test_no_image_is_no_row() -> None:
    assert model_of(GREY).predict(np.zeros((0, 4, 5), np.uint8)).shape == (0,)
    assert model_of(GREY).predict_proba(np.zeros((0, 1, 4, 5), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    ("images", "said", "told"),
    [
        (np.zeros((2, 5, 4), np.uint8), {}, r"\(2, 5, 4\), but .* \(n, 1, 4, 5\) or \(n, 4, 5, 1\) or \(n, 4, 5\)"),
        (np.zeros((2, 3, 4, 5), np.uint8), {}, r"shape \(2, 3, 4, 5\)"),
        (np.uint8(3), {}, r"shape \(\)"),
        (np.zeros((2, 4, 5)), {}, r"float64: give value_range=\(black, white\)"),
        (np.zeros((2, 4, 5)) + 2, {"value_range": (0, 1)}, "sample 0 has the pixel value 2"),
        (np.full((2, 4, 5), np.nan), {"value_range": (0, 1)}, "must be a finite number"),
        ([[1, 2], [3]], {}, "must be arrays of one shape"),
        ("new-images/", {}, "'new-images/' is no array of images: .* mosaic predict"),
        (Path("x.png"), {}, "'x.png' is no array of images"),
        (np.zeros((2, 4, 5), np.uint8), {"device": "tpu"}, "device 'tpu' is not available"),
    ],
)  # fmt: skip
def test_images_that_the_model_does_not_take(images: Any, said: dict[str, Any], told: str) -> None:
    model = model_of(GREY)
    for use in (model.logits, model.predict, model.predict_proba):
        with pytest.raises(UsageError, match=told):
            use(images, **said)


def test_samples_of_another_form_are_refused() -> None:
    """As arrays of another shape are; how pictures came to their shape is no matter."""
    model, values = model_of(GREY), pixels(2, GREY)
    labels = torch.zeros(2, dtype=torch.int64)
    stretched = image_schema((1, 4, 5), GREY.classes, "stretch")
    assert torch.equal(model.predict(image_dataset(values, labels, stretched)), model.predict(values))
    turned = image_schema((1, 5, 4), GREY.classes)  # as many pixels: a perceptron would take them
    other = image_dataset(values.transpose(2, 3), labels, turned)
    two = {"left": GREY.kind, "right": GREY.kind}
    named = {"picture": GREY.kind}
    for use in (model.logits, model.predict, model.predict_proba, model.evaluate):
        with pytest.raises(UsageError, match=r"samples are 1×5×4 images, but the model takes 1×4×5 images"):
            use(other)
        for kinds in (two, named):
            samples = Samples(kinds, dict.fromkeys(kinds, values))
            with pytest.raises(UsageError, match=r"samples have the fields .*, but the model takes image"):
                use(samples, labels) if use == model.evaluate else use(samples)  # type: ignore[arg-type, operator]
    with pytest.raises(UsageError, match="1×5×4 images"):
        model.predict(other.samples)
    with pytest.raises(UsageError, match="a Dataset has values of its own: leave value_range out"):
        model.predict(image_dataset(values, labels, GREY), value_range=(0, 1))


@pytest.mark.parametrize("device", [torch.device("meta"), torch.device("cuda", 99), None, 99])
def test_a_device_that_is_not_here(device: Any) -> None:
    with pytest.raises(UsageError, match="is not available here"):
        model_of(GREY).predict(pixels(1, GREY), device)


def test_a_file_whose_schema_is_none_is_named(tmp_path: Path) -> None:
    model = model_of(GREY)
    container.write(tmp_path / "a.file", "global model", {"architecture": "mlp:4", "schema": {}}, model.state)
    with pytest.raises(UsageError, match=r"a\.file: it is no schema"):
        GlobalModel.load(tmp_path / "a.file")


def test_an_evaluation_by_hand() -> None:
    """Of 2 dark cats, a bright cat, a bright owl: 3 of 4 are right; cats 2 of 3, owls 1 of 1, dogs there are none."""
    images = torch.tensor([0, 0, 255, 255], dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 4, 5)
    labels = torch.tensor([0, 0, 0, 2])
    model = brightness()
    assert model.predict(images).tolist() == [0, 0, 2, 2]
    expected = Evaluation(4, 0.75, (pytest.approx(2 / 3), None, 1.0), GREY.classes)  # type: ignore[arg-type]
    for measured in (
        model.evaluate(images, labels),
        model.evaluate(images.numpy()[:, 0], labels.tolist()),
        model.evaluate(images / 255, labels, value_range=(0, 1)),
        model.evaluate(image_dataset(images, labels, GREY)),
    ):
        assert measured == expected
        assert measured.balanced_accuracy == pytest.approx((2 / 3 + 1) / 2)
    assert repr(measured) == "Evaluation(4 samples, accuracy 0.7500, balanced accuracy 0.8333)"


def test_labelled_images_are_read_by_name() -> None:
    model, dark = brightness(), torch.zeros(2, 1, 4, 5, dtype=torch.uint8)
    both = torch.tensor([1, 1])  # a cat, where the order is another
    assert model.evaluate(image_dataset(dark, both, image_schema((1, 4, 5), ("owl", "cat")))).accuracy == 1.0
    assert (
        model.evaluate(image_dataset(dark, both, image_schema((1, 4, 5), ("0", "1")))).accuracy == 0.0
    )  # numbers: dogs
    for names in (("cat", "cow"), ("0", "1", "2", "3"), ("1", "2")):
        with pytest.raises(UsageError, match=r"of the data is none of the model's classes \(cat, dog, owl\)"):
            model.evaluate(image_dataset(dark, both, image_schema((1, 4, 5), names)))
    numbered = GlobalModel(model.architecture, image_schema((1, 4, 5), ("1", "2", "10")), model.state)
    assert numbered.evaluate(image_dataset(dark, both, image_schema((1, 4, 5), ("10", "1")))).accuracy == 1.0
    with pytest.raises(UsageError, match="class '0' of the data"):  # is 1 the first class, or the second?
        numbered.evaluate(image_dataset(dark, both, image_schema((1, 4, 5), ("0", "1", "2"))))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((np.zeros((2, 4, 5), np.uint8),), "images come without labels"),
        ((np.zeros((2, 4, 5), np.uint8), [0]), "1 labels"),
        ((np.zeros((2, 4, 5), np.uint8), [0, 3]), "3"),
        ((image_dataset(pixels(1, GREY), torch.zeros(1, dtype=torch.int64), GREY), [0]), "a Dataset has labels"),
        (("test.parquet", [0]), "is no array of images"),
    ],
)
def test_an_evaluation_without_fitting_labels(arguments: tuple[Any, ...], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        brightness().evaluate(*arguments)


def test_a_file_and_the_folder_of_a_run(tmp_path: Path) -> None:
    model = model_of(COLOUR)
    model.save(tmp_path / "run" / "global_model.safetensors")
    for path in (tmp_path / "run", str(tmp_path / "run"), tmp_path / "run" / "global_model.safetensors"):
        assert GlobalModel.load(path).to_bytes() == model.to_bytes()
    with pytest.raises(UsageError, match="exists: choose another name, or say overwrite=True"):
        model.save(tmp_path / "run" / "global_model.safetensors")
    model_of(GREY).save(str(tmp_path / "run" / "global_model.safetensors"), overwrite=True)
    assert GlobalModel.load(tmp_path / "run").schema == GREY
    with pytest.raises(UsageError, match=r"is a folder: give the name of a file, as .*run/global_model.safetensors"):
        model.save(tmp_path / "run", overwrite=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["global_model.safetensors"]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, r"is a folder without a global_model\.safetensors"),
        ({"result.json": {"method": "fens", "title": "FENS", "student": None}}, "holds a run of FENS, .* an ensemble"),
        ({"result.json": {"method": "mosaic", "student": "cnn:8"}, "inputs.json": {}}, "no global_model.* yet"),
        ({"inputs.json": {}}, "holds a run that has no global_model.safetensors yet: mosaic status"),
        ({"table.json": [], "inputs.json": {}}, "holds a comparison, which keeps no models"),
        ({"result.json": [[]]}, "is a folder without"),
    ],
)
def test_a_folder_without_a_model_says_why(files: dict[str, Any], told: str, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(UsageError, match=told):
        GlobalModel.load(tmp_path)


def test_everything_public_is_said_in_one_short_line() -> None:
    classes = image_schema((3, 8, 8), tuple(f"class {k}" for k in range(1000)))
    data = image_dataset(pixels(5, classes), torch.arange(5), classes)
    settings = {"train.max_steps": 2, "train.min_steps": 1, "generator.family": "none"}
    contribution = mosaic_fl.contribute(data, model="mlp:4", client=7, settings=settings)
    few = image_schema((1, 8, 8), ("a", "b"))
    lines = {
        repr(model_of(classes)): "GlobalModel('mlp:4', 3×8×8 images, 1,000 classes, 5,816 weights)",
        repr(data): "Dataset(5 samples, 3×8×8 images, 1,000 classes)",
        repr(Splits("x", data, data)): "Splits(name='x', train=Dataset(5 samples, 3×8×8 images, 1,000 classes), "
        "test=Dataset(5 samples, 3×8×8 images, 1,000 classes))",
        repr(few): "Schema(image: 1×8×8 images; classes ('a', 'b'))",
        repr(classes): "Schema(image: 3×8×8 images; classes ('class 0', 'class 1', 'class 2', 'class 3', 'class 4', "
        "'class 5', … 1,000 in all))",
        repr(contribution): "Contribution(client 7, 'mlp:4', 3×8×8 images, 1,000 classes, 5 samples, no generator)",
        repr(Evaluation(3, 1.0, (1.0,) * 1000, classes.classes)): "Evaluation(3 samples, accuracy 1.0000, "
        "balanced accuracy 1.0000)",
    }
    for line, expected in lines.items():
        assert line == expected
        assert len(line) < 200


def test_the_package_lists_what_there_is() -> None:
    names = dir(mosaic_fl)
    assert names == sorted(mosaic_fl.__all__)
    assert {"GlobalModel", "contribute", "distill", "trust", "__version__"} <= set(names)
    assert all(getattr(mosaic_fl, name) is not None for name in names)
    assert mosaic_fl.__version__[0].isdecimal()
    assert Contribution is mosaic_fl.Contribution
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        mosaic_fl.no_such  # noqa: B018
