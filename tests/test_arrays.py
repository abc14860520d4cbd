"""A user's own arrays: layouts, value ranges, and errors that name the first bad sample."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mosaic_fl.data.arrays import from_arrays, from_dataset, pixels_of
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note

BYTES = np.arange(2 * 3 * 5 * 7, dtype=np.uint8).reshape(2, 3, 5, 7)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 5, 7), (1, 5, 7)),
        ((2, 3, 5, 7), (3, 5, 7)),
        ((2, 5, 7, 3), (3, 5, 7)),
        ((2, 5, 7, 1), (1, 5, 7)),
        ((2, 4, 5, 7), (4, 5, 7)),
        ((2, 3, 7, 3), (3, 7, 3)),  # both could be the channels: axis 1 is
    ],
)
def test_layouts(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    assert from_arrays(np.zeros(shape, np.uint8), [0, 1]).schema.shape == expected


def test_channels_last_are_moved_and_not_just_reshaped() -> None:
    moved = from_arrays(BYTES.transpose(0, 2, 3, 1), [0, 1])
    assert torch.equal(moved.images, torch.tensor(BYTES))


def test_tensors_arrays_and_lists_give_the_same() -> None:
    for images, labels in (
        (BYTES, np.array([0, 1], np.uint8)),
        (torch.tensor(BYTES), torch.tensor([0, 1])),
    ):
        data = from_arrays(images, labels)
        assert torch.equal(data.images, torch.tensor(BYTES))
        assert data.labels.tolist() == [0, 1]
    assert from_arrays([[[0, 8], [16, 16]]], [1], 2, value_range=(0, 16)).images.flatten().tolist() == [
        0,
        128,
        255,
        255,
    ]


def test_arrays_are_copied() -> None:
    images, labels = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])
    data = from_arrays(images, labels)
    images[:], labels[:] = 255, 0
    assert data.images.max() == 0
    assert data.labels.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_mapped_from_their_range(dtype: Any) -> None:
    values = np.array([[[-1, 0], [0.5, 1]]], dtype)
    data = from_arrays(values, [1], 2, value_range=(-1, 1))
    # (v + 1) · 127.5 = 0, 127.5 (to the even 128), 191.25, 255
    assert data.images.flatten().tolist() == [0, 128, 191, 255]


def test_every_byte_survives_the_way_through_floats() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    assert torch.equal(from_arrays(every / 255, [1], 2, value_range=(0, 1)).images[0], every)


def test_names_of_classes() -> None:
    images = np.zeros((2, 4, 4), np.uint8)
    assert from_arrays(images, [0, 1]).schema.classes == ("0", "1")
    assert from_arrays(images, [0, 2], classes=4).schema.classes == ("0", "1", "2", "3")
    assert from_arrays(images, [0, 2], classes=np.array([3]).max() + 1).schema.classes == ("0", "1", "2", "3")
    assert from_arrays(images, [0, 1], classes=["cat", "dog"]).schema.classes == ("cat", "dog")


GOOD = np.zeros((3, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "settings", "message"),
    [
        (GOOD.astype(float), [0, 1, 2], {}, "images are float64: give value_range"),
        (GOOD.astype(int), [0, 1, 2], {}, "images are int64: give value_range"),
        (GOOD, [0, 1, 2], {"value_range": (1, 1)}, r"value_range is \(1, 1\): black must be a smaller"),
        (GOOD, [0, 1, 2], {"value_range": (0, float("nan"))}, "value_range is"),
        (
            GOOD + 0.5,
            [0, 1, 2],
            {"value_range": (0, 0.4)},
            r"sample 0 has the pixel value 0.5: value_range is",
        ),
        (GOOD.astype(str), [0, 1, 2], {"value_range": (0, 1)}, "they must be numbers"),
        (GOOD[0], [0, 1, 2], {}, r"images have the shape \(4, 4\), not \(n, h, w\)"),
        (np.zeros((3, 5, 6, 7), np.uint8), [0, 1, 2], {}, "with 1, 3 or 4 channels"),
        (GOOD[:0], [], {}, "labels must be whole numbers|there are no images"),
        (GOOD[:0], np.array([], int), {}, r"there are no images: the shape is \(0, 4, 4\)"),
        ([[[1], [1, 2]]], [0], {}, "must be arrays of one shape"),
        (torch.zeros(3, 4, 4, dtype=torch.bfloat16), [0, 1, 2], {}, "must be arrays"),
        (GOOD, [0, 1], {}, "there are 3 images, but 2 labels"),
        (GOOD, [0.0, 1.5, 2.0], {}, "sample 1 has label 1.5: labels are whole numbers or text"),
        (GOOD, [0, 1, float("nan")], {}, "sample 2 has no label"),
        (GOOD, ["a", "", "c"], {}, "sample 1 has no label"),
        (GOOD, ["a", None, "c"], {}, "sample 1 has no label"),
        (GOOD, np.array(["a", 1, "c"], object), {}, "but those of the arrays are int, str"),
        (GOOD, [1j, 0, 1], {}, "but those of the arrays are complex128"),
        (GOOD, [[0, 1], [1, 0], [0, 1]], {}, r"one axis, \(n,\) or \(n, 1\), not the shape \(3, 2\)"),
        (GOOD, [0, 2, 2], {}, r"are 0, 2, and none is 1: .* in all \(classes=3\), or the names of all, as 0,2$"),
        (GOOD, [0, -1, 2], {}, "sample 1 has label -1"),
        (GOOD, [0, 1, 2], {"classes": 2}, "sample 2 has label 2, but there are 2 classes: 0, 1$"),
        (GOOD, [0, 1, 2], {"classes": ["a", "b"]}, "label 2, but there are 2 classes: a, b; labels are 0..1$"),
        (GOOD, [1, 2, 3], {"classes": 3}, "there are 3 classes: 0, 1, 2; if labels count from 1, .* as 1,2,3$"),
        (GOOD, [0, 1, 10**12], {}, "there can be at most 10000"),
        (GOOD, [0, 0, 0], {}, "1 classes: a classifier needs 2"),
        (GOOD, [0, 1, 1], {"classes": ["a", "a"]}, "'a' comes 2 times"),
        (GOOD, [0, 1, 1], {"classes": [0, 1]}, "class name 0 is no text"),
        (GOOD, [0, 1, 1], {"classes": np.array(["a", "a"])}, "'a' comes 2 times"),
    ],
)
def test_errors(images: Any, labels: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_arrays(images, labels, **settings)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_sample_that_is_not_finite_is_named(value: float) -> None:
    images = np.zeros((4, 3, 3), np.float32)
    images[2, 1, 1] = images[3, 0, 0] = value
    with pytest.raises(UsageError, match=f"sample 2 has the pixel value {value:g}: a pixel must be a finite"):
        from_arrays(images, [0, 1, 0, 1], value_range=(0, 1))


class TestDataset:
    def test_tensor_dataset(self) -> None:
        dataset = torch.utils.data.TensorDataset(torch.tensor(BYTES) / 255, torch.tensor([0, 1]))
        data = from_dataset(dataset, classes=["a", "b"], value_range=(0, 1))
        assert torch.equal(data.images, torch.tensor(BYTES))
        assert data.labels.tolist() == [0, 1]

    def test_pil_images_with_python_labels(self) -> None:
        pictures = [(Image.new("L", (7, 5), 9), 0), (Image.new("L", (7, 5), 8), 1)]
        assert from_dataset(pictures).images[:, 0, 4, 6].tolist() == [9, 8]
        assert from_dataset([(Image.new("RGB", (7, 5)), 1)], 2).schema.shape == (3, 5, 7)

    @pytest.mark.parametrize("mode", ["P", "CMYK", "YCbCr", "HSV", "RGBX", "RGBa"])
    def test_pil_images_whose_numbers_are_no_levels_are_read_as_files_are(self, mode: str) -> None:
        red = Image.new("RGB", (7, 5), (200, 0, 0))
        picture = red.convert("RGBA").convert(mode) if mode == "RGBa" else red.convert(mode)
        for data in (from_dataset([(picture, 1)], 2), from_arrays([picture, red], [0, 1])):
            assert data.schema.shape == (3, 5, 7)
            levels = data.images[0, :, 2, 3].tolist()
            assert levels == pytest.approx([200, 0, 0], abs=5), levels
        schema = image_schema((3, 5, 7), ("a", "b"))
        assert pixels_of([picture], schema)[0, :, 2, 3].tolist() == levels

    def test_pil_images_with_transparency_are_laid_on_white(self) -> None:
        for mode, shape in (("LA", (1, 5, 7)), ("PA", (3, 5, 7))):
            picture = Image.new("LA", (7, 5), (9, 0))
            picture.putpixel((1, 0), (9, 255))
            picture = picture if mode == "LA" else picture.convert("RGBA").convert("PA")
            with pytest.warns(Note, match=f"of mode {mode} are partly transparent: laid on white"):
                data = from_dataset([(picture, 1)], 2)
            assert data.schema.shape == shape
            assert data.images[0, 0, 0, :2].tolist() == [255, 9]

    @pytest.mark.parametrize("mode", ["P", "RGB"])
    def test_a_pil_image_that_cannot_be_decoded_is_one_line(self, mode: str) -> None:
        file = io.BytesIO()
        Image.effect_noise((70, 50), 50).convert(mode).save(file, "PNG")
        with pytest.raises(UsageError, match="truncated"):
            from_dataset([(Image.open(io.BytesIO(file.getvalue()[:-60])), 1)], 2)

    @pytest.mark.parametrize(
        ("items", "message"),
        [
            ([], "the data set is empty"),
            ([(GOOD[0], 0), GOOD[0]], r"sample 1 of the data set is not \(image, label\)"),
            ([(GOOD[0], 0), 7], r"sample 1 of the data set is not \(image, label\)"),
            ([(GOOD[0], 0), (GOOD[0, :2], 1)], r"sample 1 has the shape \(2, 4\), sample 0 \(4, 4\)"),
            ([(GOOD[0], [0, 1])], r"sample 0 has a label of shape \(2,\)"),
            ([(GOOD[0], 0.5)], "sample 0 has label 0.5: labels are whole numbers"),
        ],
    )
    def test_errors(self, items: Any, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            from_dataset(items)
