"""A part of a data set as files, drawn once, so that no framework decodes what it does not use."""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

FOLDER = Path("build/peers/data")


def draw(data: str, images: int, test_images: int) -> tuple[Path, Path]:
    """The Parquet files of `images` training and `test_images` test images of `data`, drawn at random from its own.

    They are named X-train.parquet and X-test.parquet, as mosaic reads them. Ends the program where `data` has too few.
    """
    stem = f"{Path(data).name}-{images}-{test_images}"
    targets = list[Path]()
    for part, count in (("train", images), ("test", test_images)):
        source = Path(f"{data}-{part}.parquet")
        target = FOLDER / f"{stem}-{part}.parquet"
        targets.append(target)
        if target.exists():
            continue
        if not source.exists():
            sys.exit(f"--data {data}: there is no {source}")
        rows = pq.read_table(source)
        if count > len(rows):
            sys.exit(f"{source} has {len(rows)} images, not {count}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        half = target.with_suffix(".half")
        pq.write_table(rows.take(np.random.default_rng(0).permutation(len(rows))[:count]), half)
        half.replace(target)
    return targets[0], targets[1]
