"""Pictures as people have them: what comes in, which pixels are right, and what is said of them.

The pixels of each row are worked out by hand.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from command import fails
from image_files import grey, png, write
from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.sources import load_test
from mosaic_fl.domains.image.decoding import Decoded, decode
from mosaic_fl.domains.image.picture import PictureForm
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import Note

RED = (200, 0, 0)
HALF = np.array([[0, 0, 255, 255]] * 4, np.uint8)  # nothing on the left, all on the right


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def flat(mode: str, level: Any, width: int = 4, height: int = 4) -> Image.Image:
    """A picture of one colour."""
    return Image.new(mode, (width, height), level)


def with_alpha(mode: str, level: Any, alpha: np.ndarray = HALF) -> bytes:
    """A picture of one colour whose drawing is in its alpha channel."""
    image = flat(mode, level)
    image.putalpha(Image.fromarray(alpha))
    return encoded(image)


def palette(colours: list[int], **options: Any) -> bytes:
    """A GIF-like picture: four rows of the colours 0, 0, 1, 1 of a palette."""
    image = Image.fromarray(np.array([[0, 0, 1, 1]] * 4, np.uint8), "P")
    image.putpalette(colours)
    return encoded(image, **options)


def wide() -> bytes:
    """2×4 grey: a row of 10, 20, 30, 40 and below it one of 10, 20, 30, 50."""
    return png(np.array([[10, 20, 30, 40], [10, 20, 30, 50]], np.uint8))


def deep(values: list[list[float]], kind: Any = np.uint16, format: str = "PNG", **options: Any) -> bytes:
    """A picture of 16 or 32 bits."""
    return encoded(Image.fromarray(np.array(values, kind)), format, **options)


def held(orientation: int) -> Image.Exif:
    """How the camera was held."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def turned(orientation: int, kind: str) -> bytes:
    """A 2×1 picture, 10 left and 90 right, that a camera held in this way."""
    quality = {"quality": 100} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(np.repeat(np.repeat(np.array([[10, 90]], np.uint8), 8, 0), 8, 1))
    return encoded(image.convert("RGB") if kind == "WEBP" else image, kind, exif=held(orientation), **quality)


def png_of(width: int, height: int, bits: int, kind: int, content: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file chunk by chunk; `kind` is its type of colour: 0 grey, 2 RGB."""
    head = struct.pack(">LLBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(content)), (b"IEND", b"")]
    body = [
        struct.pack(">L", len(part)) + name + part + struct.pack(">L", zlib.crc32(name + part)) for name, part in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


DEEP_COLOUR = png_of(1, 1, 16, 2, struct.pack(">BHHH", 0, 65535, 300, 0))  # of 16 bits: 65,535, 300 and 0


def said_of(call: Callable[[], Decoded]) -> tuple[Decoded, list[str]]:
    """What a call returns, and the notes that it gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        decoded = call()
    assert all(issubclass(warning.category, Note) for warning in caught), [str(w.message) for w in caught]
    return decoded, [str(warning.message) for warning in caught]


# (what it is, the file, its form, one row of its pixels in each channel, what is said)
ROW = "1 of 1 images of set are "
SITUATIONS: list[tuple[str, bytes, PictureForm, list[list[int]], list[str]]] = [
    ("grey", png(grey(7)), PictureForm(), [[7] * 4], []),
    ("grey, colour wanted", png(grey(7)), PictureForm(3), [[7] * 4] * 3, [ROW + "grey: each of the 3 channels is"]),
    ("colour", encoded(flat("RGB", RED)), PictureForm(), [[200] * 4, [0] * 4, [0] * 4], []),
    # 0.299 · 200 = 59.8
    ("colour, grey wanted", encoded(flat("RGB", RED)), PictureForm(1, to_grey=True), [[60] * 4], [ROW + "coloured"]),
    ("grey stored as RGB", encoded(flat("RGB", (9, 9, 9))), PictureForm(), [[9] * 4], [ROW + "stored in colour but"]),
    ("the same, grey wanted", encoded(flat("RGB", (9, 9, 9))), PictureForm(1), [[9] * 4], []),
    ("the same, colour wanted", encoded(flat("RGB", (9, 9, 9))), PictureForm(3), [[9] * 4] * 3, []),
    ("black and white", encoded(flat("1", 1)), PictureForm(), [[255] * 4], []),
    ("CMYK: only black ink", encoded(flat("CMYK", (0, 0, 0, 255)), "TIFF"), PictureForm(3), [[0] * 4] * 3, []),
    ("palette, coloured", palette([200, 0, 0, 0, 0, 99]), PictureForm(),
     [[200, 200, 0, 0], [0] * 4, [0, 0, 99, 99]], []),
    ("palette, grey", palette([5, 5, 5, 8, 8, 8]), PictureForm(), [[5, 5, 8, 8]], [ROW + "stored in colour but grey"]),
    ("palette, one colour transparent", palette([0, 0, 0, 90, 0, 0], transparency=0), PictureForm(),
     [[255, 255, 90, 90], [255, 255, 0, 0], [255, 255, 0, 0]], [ROW + "partly transparent: laid on white"]),
    ("opaque alpha", encoded(flat("RGBA", (*RED, 255))), PictureForm(), [[200] * 4, [0] * 4, [0] * 4], []),
    ("opaque alpha, grey", encoded(flat("LA", (33, 255))), PictureForm(), [[33] * 4], []),
    ("black, drawn in the alpha", with_alpha("RGB", (0, 0, 0)), PictureForm(1), [[255, 255, 0, 0]], [ROW + "partly"]),
    ("white, drawn in the alpha", with_alpha("RGB", (255,) * 3), PictureForm(1), [[0, 0, 255, 255]],
     [ROW + "partly transparent and too light to be seen on white: laid on black"]),
    ("grey, drawn in the alpha", with_alpha("L", 100), PictureForm(), [[255, 255, 100, 100]], [ROW + "partly"]),
    ("white grey, drawn in the alpha", with_alpha("L", 255), PictureForm(), [[0, 0, 255, 255]], [ROW + "partly"]),
    # Half of 0 and half of 255 is 127.5.
    ("half transparent", with_alpha("L", 0, np.full((4, 4), 128, np.uint8)), PictureForm(), [[127] * 4], [ROW + "p"]),
    ("one colour of RGB transparent", encoded(flat("RGB", RED), transparency=RED), PictureForm(1, to_grey=True),
     [[255] * 4], [ROW + "partly transparent: laid on white"]),
    ("not square, as it is", wide(), PictureForm(), [[10, 20, 30, 40]], []),
    # The bars take the median of the rows they touch: 10, 10, 20, 20, 30, 30, 40, 50 -> 25.
    ("not square, padded", wide(), PictureForm(size=4), [[25] * 4], [ROW + "no squares: padded to 4×4 in the colour"]),
    # The middle 2×2: 20, 30.
    ("not square, cropped", wide(), PictureForm(size=2, fit="crop"), [[20, 30]], [ROW + "no squares: cropped"]),
    ("not square, stretched", png(grey(7, 2, 4)), PictureForm(size=4, fit="stretch"), [[7] * 4],
     [ROW + "no squares: stretched to 4×4"]),
    # 1,000 of 0..4,000 is a quarter: 63.75.
    ("16 bits", deep([[0, 1000, 4000]]), PictureForm(pixel_range=(0, 4000)), [[0, 64, 255]], []),
    ("16 bits, TIFF", deep([[0, 4000]], format="TIFF"), PictureForm(pixel_range=(0, 4000)), [[0, 255]], []),
    ("32 bits", deep([[-5, 0, 5]], np.int32, "TIFF"), PictureForm(pixel_range=(-5, 5)), [[0, 128, 255]], []),
    ("real numbers", deep([[0, 0.2, 1]], np.float32, "TIFF"), PictureForm(pixel_range=(0, 1)), [[0, 51, 255]], []),
    ("PGM of 12 bits", b"P5 3 1 4095\n\0\0\x0a\xaa\x0f\xff", PictureForm(pixel_range=(0, 4095)), [[0, 170, 255]], []),
    ("PGM of 16 bits", b"P5 2 1 65535\n\0\0\xff\xff", PictureForm(pixel_range=(0, 65535)), [[0, 255]], []),
    ("16 bits, upside down", deep([[0, 4000]], exif=held(3)), PictureForm(pixel_range=(0, 4000)), [[255, 0]], []),
    ("16 bits of colour", DEEP_COLOUR, PictureForm(3, pixel_range=(0, 65535)), [[255], [1], [0]], []),
    ("several frames", encoded(flat("L", 9), "GIF", save_all=True, append_images=[flat("L", 99)]), PictureForm(1),
     [[9] * 4], [ROW + "of several frames or pages: only the first"]),
    ("several pages", encoded(flat("L", 9), "TIFF", save_all=True, append_images=[flat("L", 99)]), PictureForm(),
     [[9] * 4], [ROW + "of several frames or pages: only the first"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "form", "row", "said"), SITUATIONS, ids=[row[0] for row in SITUATIONS])
def test_what_becomes_of_a_picture(
    name: str, file: bytes, form: PictureForm, row: list[list[int]], said: list[str]
) -> None:
    decoded, notes = said_of(lambda: decode([file], "set", form))
    assert decoded.images[0, :, 0].tolist() == row
    assert len(notes) == len(said)
    assert all(line.startswith(start) for line, start in zip(notes, said, strict=True)), notes


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "corners"),
    [  # (upper left, lower right) of what was 10 left and 90 right
        (1, (10, 90)), (2, (90, 10)), (3, (90, 10)), (4, (10, 90)),
        (5, (10, 90)), (6, (10, 90)), (7, (90, 10)), (8, (90, 10)),
    ],
)  # fmt: skip
def test_a_picture_is_turned_as_its_camera_was_held(kind: str, orientation: int, corners: tuple[int, int]) -> None:
    image = decode([turned(orientation, kind)], "set", PictureForm(1)).images[0, 0]
    assert image.shape == ((8, 16) if orientation < 5 else (16, 8))
    assert torch.allclose(image[[0, -1], [0, -1]].float(), torch.tensor(corners).float(), atol=1)


# (what it is, the file, its form, what is said)
REFUSED: list[tuple[str, Any, PictureForm, str]] = [
    ("16 bits", deep([[0, 9]]), PictureForm(), "has more than 8 bits a pixel: .* as --pixel-range 0,65535"),
    ("16 bits of colour", DEEP_COLOUR, PictureForm(), "has more than 8 bits a pixel"),
    ("a value beyond the range", deep([[0, 5000]]), PictureForm(pixel_range=(0, 4095)),
     "has the pixel value 5000, outside --pixel-range 0,4095"),
    ("not a number", deep([[float("nan")]], np.float32, "TIFF"), PictureForm(pixel_range=(0, 1)),
     "has the pixel value nan"),
    ("16 bits of colour, 12 in use", DEEP_COLOUR, PictureForm(pixel_range=(0, 4095)), "has 16 bits in each of several"),
    ("colour for grey", encoded(flat("RGB", RED)), PictureForm(1), r"is coloured \(mode RGB\), .*--channels grey"),
    ("nothing", None, PictureForm(), "has no image"),
    ("no bytes", b"", PictureForm(), "is no image that is known here"),
    ("cut off", png(np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8))[:-30], PictureForm(), "cannot be"),
    ("too large as it is", png(grey(1, 1, 1025)), PictureForm(),
     "has 1×1025 pixels, at most 1024 a side: .*--image-size"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "form", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_is_refused(name: str, file: Any, form: PictureForm, said: str) -> None:
    with pytest.raises(UsageError, match=f"row 1 of set {said}"):
        decode([encoded(flat("L", 1, 2, 1)), file], "set", form)


class TestManyPictures:
    def test_one_coloured_picture_makes_all_three_channels(self) -> None:
        pictures = [png(grey(7)), encoded(flat("RGB", (8, 8, 8))), encoded(flat("RGB", RED)), png(grey(9))]
        decoded, notes = said_of(lambda: decode(pictures, "set"))
        assert decoded.images[:, :, 0, 0].tolist() == [[7, 7, 7], [8, 8, 8], [200, 0, 0], [9, 9, 9]]
        assert notes == []

    def test_notes_count(self) -> None:
        pictures = [wide(), png(grey(1)), wide()]
        _, notes = said_of(lambda: decode(pictures, "set", PictureForm(size=4)))
        assert len(notes) == 1
        assert notes[0].startswith("2 of 3 images of set are no squares")

    @pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
    def test_a_square_is_the_same_by_every_fit(self, fit: Any) -> None:
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8))
        right = np.asarray(image.resize((5, 5), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        decoded, notes = said_of(lambda: decode([encoded(image)], "set", PictureForm(size=5, fit=fit)))
        assert (decoded.images[0].numpy() == right).all()
        assert notes == []

    def test_a_high_picture_has_bars_left_and_right(self) -> None:
        high = png(np.array([[10, 12]] * 4, np.uint8))
        assert decode([high], "set", PictureForm(size=4)).images[0, 0, 0].tolist() == [11, 10, 12, 11]


class TestAtTheModel:
    """What a model is tried on becomes what it was trained on."""

    # Half as large, a pixel takes 3/7, 3/7 and 1/7 of three: (3 · 10 + 3 · 20 + 30) / 7 = 17.1, and 32.9.
    @pytest.mark.parametrize(
        ("fit", "rows"),
        [("pad", [[17, 33], [25, 25]]), ("crop", [[20, 30], [20, 30]]), ("stretch", [[17, 33], [17, 33]])],
    )
    def test_the_fit_is_the_schema_s(self, tmp_path: Path, fit: Any, rows: list[list[int]]) -> None:
        schema = image_schema((1, 2, 2), ("a", "b"), fit)
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x.png").write_bytes(png(np.array([[10, 20, 30, 40]] * 2, np.uint8)))
        with pytest.warns(Note, match="no squares"):
            assert load_test(tmp_path, schema).images[0, 0].tolist() == rows

    def test_another_fit_may_be_asked_for(self, tmp_path: Path) -> None:
        file = write(tmp_path / "x.parquet", [0], [png(np.array([[10, 20, 30, 40]] * 2, np.uint8))])
        with pytest.warns(Note, match="cropped"):
            images = load_test(file, image_schema((1, 2, 2), ("a", "b")), ReadingConfig(fit="crop")).images
        assert images[0, 0, 0].tolist() == [20, 30]

    def test_coloured_pictures_are_made_grey_for_a_grey_model_and_it_is_said(self, tmp_path: Path) -> None:
        file = write(tmp_path / "x.parquet", [0], [encoded(flat("RGB", RED))])
        with pytest.warns(Note, match="1 of 1 images of .* are coloured: made grey"):
            assert load_test(file, image_schema((1, 4, 4), ("a", "b"))).images.unique().tolist() == [60]


@pytest.mark.parametrize(
    ("given", "message"),
    [("1", "pixel_range is 1: give two numbers"), ("9,9", "pixel_range is 9,9"), ("1,x", "data.pixel_range is 'x'")],
)
def test_a_pixel_range_that_is_none(capsys: pytest.CaptureFixture[str], given: str, message: str) -> None:
    assert message in fails(capsys, "data", "--pixel-range", given)


def test_the_command_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "x.parquet", [0, 1], [png(grey(1)), deep([[1]])])
    line = fails(capsys, "data", "--data", file, "--describe")
    assert line.startswith(f"row 1 of {file} has more than 8 bits a pixel: say which values are black and white")
