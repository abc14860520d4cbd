"""A picture that claims, or hides, more than it may take: refused in a moment, with little memory.

All of them are read in a process of their own, which says how long each took and how far its memory grew.
"""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Field = tuple[int, int, int, int]  # tag, type, count, value
SECONDS = 1.0
MEMORY = 256  # MiB
READ = """
import json, resource, sys, time
from pathlib import Path
from mosaic_fl.domains.image.picture import PictureForm, read_picture
from mosaic_fl.errors import UsageError
grown = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
grey = PictureForm(1, 32, pixel_range=(0, 1), to_grey=True)
forms = [PictureForm(size=32), grey, PictureForm(size=1024, fit="stretch")]
start = grown()
for file in map(Path, sys.argv[1:]):
    began = time.process_time()
    for form in forms:
        try:
            read_picture(file.read_bytes(), form, "it")
            words = "read"
        except UsageError as error:
            words = str(error)
    print(json.dumps([file.name, words, (time.process_time() - began) / len(forms), grown() - start]))
"""


def encoded(kind: str, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 7 if mode in ("L", "P") else (7, 8, 9)).save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of these chunks between its head and its end."""
    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body)) for name, body in parts
    )


def jpeg(width: int, height: int, progressive: bool = False, scans: int = 0) -> bytes:
    """A JPEG whose header claims another size, and that repeats its last scan."""
    data = encoded("JPEG", progressive=progressive)
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    data = data[:frame] + struct.pack(">HH", height, width) + data[frame + 4 :]
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


def tiff(fields: list[Field], body: bytes = b"") -> bytes:
    """A TIFF of these fields (tag, type, count, value), its body at 10,000."""
    listed = b"".join(struct.pack("<HHLL", *field) for field in sorted(fields))
    return (struct.pack("<2sHLH", b"II", 42, 8, len(fields)) + listed + bytes(4)).ljust(10_000, b"\0") + body


def picture(
    width: int, height: int, *more: tuple[int, int, int, int], packed: int = 8
) -> list[tuple[int, int, int, int]]:
    """The fields of a grey TIFF."""
    return [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, packed), (262, 3, 1, 1), *more]


def webp(width: int, height: int) -> bytes:
    """An animated WebP without frames, of a canvas of that size."""
    canvas = struct.pack("<LLL", 2, (width - 1) | ((height - 1) & 0xFF) << 24, (height - 1) >> 8)[:10]
    body = b"WEBPVP8X" + struct.pack("<L", 10) + canvas + b"ANIM" + struct.pack("<LLH", 6, 0, 0)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def gif(width: int, height: int) -> bytes:
    """A GIF of one small frame on a large screen."""
    data = bytearray(encoded("GIF", mode="P"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def rle(width: int, height: int, body: bytes) -> bytes:
    """A BMP of 8 bits, its rows run-length encoded."""
    head = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<LHHL", 1078 + len(body), 0, 0, 1078) + head + bytes(1024) + body


LARGE = "are read|too many pixels"
BOMB = zlib.compress(bytes(2**20 + 1))
BOMBS: list[tuple[str, Callable[[], bytes], str]] = [
    ("tiff-high", lambda: tiff(picture(5, 33_554_438, (273, 4, 1, 10_000), (279, 4, 1, 99)), b"x" * 99),
     "65535 a side"),
    ("tiff-large", lambda: tiff(picture(60_000, 60_000, (273, 4, 1, 10_000), (279, 4, 1, 99)), b"x" * 99), LARGE),
    ("tiff-tile", lambda: tiff(picture(8, 8, (322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 10_000),
                                       (325, 4, 1, 99)), b"x" * 99), LARGE),
    ("tiff-bits", lambda: tiff([(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 5_000_000, 10_000), (262, 3, 1, 1)],
                               bytes(10_000_000)), "lists 5,000,000 numbers in field 258"),
    ("tiff-strips", lambda: tiff(picture(8, 8, (273, 4, 4_000_000, 10_000), packed=1), bytes(16_000_000)),
     "in field 273"),
    ("tiff-same", lambda: tiff([(tag, 2, 900_000, 10_000) for tag in range(300, 1100)], bytes(900_000)), "is no image"),
    ("tiff-pages", lambda: encoded("TIFF", save_all=True, append_images=[Image.new("RGB", (8, 8))] * 500), "read"),
    ("png-large", lambda: png(60_000, 60_000), LARGE),
    ("png-wide", lambda: png(70_000, 1), "65535 a side"),
    ("png-text", lambda: png(9, 9, *[(b"zTXt", b"a\0\0" + BOMB[:-8])] * 500), "cannot be"),
    ("png-long-text", lambda: png(9, 9, *[(b"zTXt", b"%d\0\0" % i + zlib.compress(bytes(2**20))) for i in range(99)]),
     "cannot be"),
    ("png-profile", lambda: png(9, 9, (b"iCCP", b"a\0\0" + zlib.compress(bytes(64 * 2**20)))), "cannot be"),
    ("png-exif", lambda: png(9, 9, (b"eXIf", tiff([(tag, 2, 200_000, 10_000) for tag in range(700)], bytes(200_000)))),
     "cannot be"),
    ("jpeg-large", lambda: jpeg(65_500, 65_500), LARGE),
    ("jpeg-progressive", lambda: jpeg(8_000, 8_000, progressive=True), LARGE),
    ("jpeg-scans", lambda: jpeg(4_000, 4_000, progressive=True, scans=2_000), "scans, at most 100"),
    ("gif-screen", lambda: gif(65_535, 65_535), LARGE),
    ("webp-canvas", lambda: webp(16_383, 16_383), f"cannot be|is no image|{LARGE}"),
    ("webp-claims", lambda: webp(2**24, 2**8), f"cannot be|is no image|{LARGE}"),
    ("bmp-rows", lambda: rle(60_000, 400, b"\1\0\0\0" * 400), "at most 524,288 of this kind of BMP"),
    ("bmp-steps", lambda: rle(65_000, 8, b"\0\2\xff\xff" * 400), "read"),
    ("bmp-large", lambda: rle(2**31 - 1, 1, b""), LARGE),
    ("ppm-comments", lambda: b"P3 100 100 255\n" + b"#\n" * 2**20, "cannot be"),
    ("ppm-scaled", lambda: b"P5 30000 30000 4095\n" + bytes(99), f"of this kind of PPM|{LARGE}"),
    ("ppm-number", lambda: b"P5 " + b"9" * 1000 + b" 1 255\n", "cannot be|is no image"),
    ("narrow", lambda: encoded("PNG", (1, 60_000)), "too high to be stretched"),
]  # fmt: skip


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, float]]:
    """(words of the last form, seconds, MiB that the process has grown until then) of each file."""
    folder: Path = tmp_path_factory.mktemp("bombs")
    for name, make, _ in BOMBS:
        (folder / name).write_bytes(make())
    run = subprocess.run(
        [sys.executable, "-c", READ, *(folder / name for name, *_ in BOMBS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return {name: (words, seconds, grown) for name, words, seconds, grown in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, _, words in BOMBS])
def test_it_is_refused_in_a_moment(outcomes: dict[str, tuple[str, float, float]], name: str, words: str) -> None:
    said, seconds, grown = outcomes[name]
    assert any(part in said for part in words.split("|")), said
    assert seconds <= SECONDS
    assert grown <= MEMORY


def test_a_large_photograph_is_read_at_a_half_of_its_size(tmp_path: Path) -> None:
    from mosaic_fl.domains.image.decoding import decode
    from mosaic_fl.domains.image.picture import PictureForm

    file = tmp_path / "x.jpg"
    Image.new("L", (12_000, 6_000), 99).save(file)
    assert np.unique(decode([file], "it", PictureForm(size=16)).images).tolist() == [99]
