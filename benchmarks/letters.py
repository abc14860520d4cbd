"""Draw Arabic letters for docs/notes/other-data.md: `python benchmarks/letters.py FOLDER` writes train and test.

28 letters of DejaVu's fonts, which come with matplotlib, each rotated, sheared, scaled, moved and warped at random.
They stand for handwritten letters, which dots alone may tell apart. 250 training and 60 test images a letter, 32×32.
"""

import io
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, map_coordinates

CODES = [*range(0x628, 0x62A), *range(0x62A, 0x63B), *range(0x641, 0x64B), 0x627]
LETTERS = [chr(code) for code in CODES][:28]
FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSansMono.ttf")
SIZES = (20, 24)
CANVAS = 48  # pixels a side where a letter is drawn
SIDE = 32  # and of the image
PARTS = {"train": 250, "test": 60}


def letter(text: str, fonts: list[ImageFont.FreeTypeFont], rng: np.random.Generator) -> Image.Image:
    """One image of a letter: its font, pose, warp, blur and contrast are drawn from `rng`."""
    image = Image.new("L", (CANVAS, CANVAS))
    font = fonts[rng.integers(len(fonts))]
    ImageDraw.Draw(image).text((CANVAS // 2, CANVAS // 2), text, fill=255, font=font, anchor="mm")
    pixels = np.asarray(image, float) / 255
    turn = rng.normal(0, 0.18)
    scale = 1 / rng.uniform(0.75, 1.15, 2)
    shear = rng.normal(0, 0.2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    pose = rotation @ np.array([[1, shear], [0, 1]]) @ np.diag(scale)
    middle = (CANVAS - 1) / 2
    y, x = np.mgrid[0:CANVAS, 0:CANVAS] - middle
    shift = rng.normal(0, 1.5, 2)
    warps = [gaussian_filter(rng.uniform(-1, 1, (CANVAS, CANVAS)), 4) * 30 for _ in range(2)]
    places = [pose[i, 0] * y + pose[i, 1] * x + middle + shift[i] + warps[i] for i in range(2)]
    pixels = map_coordinates(pixels, places, order=1)
    pixels = gaussian_filter(pixels, rng.uniform(0.3, 1.0))
    pixels = np.clip(pixels * rng.uniform(1.2, 2.5), 0, 1)
    return Image.fromarray((pixels * 255).astype("uint8")).resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def main(folder: Path) -> None:
    """Write `train.parquet` and `test.parquet`, the same bytes of images at every call."""
    directory = Path(mpl.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(directory / name), size) for name in FONTS for size in SIZES]
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    form = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    for part, count in PARTS.items():
        rows = []
        labels = []
        for label, text in enumerate(LETTERS):
            for _ in range(count):
                content = io.BytesIO()
                letter(text, fonts, rng).save(content, "PNG")
                rows.append({"bytes": content.getvalue(), "path": None})
                labels.append(label)
        order = rng.permutation(len(labels))
        table = {"image": pa.array([rows[i] for i in order], form), "label": pa.array([labels[i] for i in order])}
        pq.write_table(pa.table(table), folder / f"{part}.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
