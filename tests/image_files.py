"""Parquet files and image folders as the tests of `data/` want them, good and bad."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from mosaic_fl.config import DataConfig, ReadingConfig
from mosaic_fl.data.inputs import read_inputs
from mosaic_fl.data.sources import load
from mosaic_fl.domains.dataset import Splits
from mosaic_fl.domains.image.picture import read_picture
from mosaic_fl.domains.schema import Schema
from mosaic_fl.runs.predicting import model_form


def read(name: str | Path, seed: int = 0, **settings: Any) -> Splits:
    """`load` with these settings."""
    return load(DataConfig(name=str(name), **settings), seed)


def to_predict(path: str | Path, schema: Schema, reading: ReadingConfig | None = None) -> Tensor:
    """The pictures of `path` as a model of that schema takes them."""
    reading = reading or ReadingConfig()
    form = model_form(schema, reading)
    items = read_inputs(path, reading).items
    return torch.stack([torch.tensor(read_picture(item.picture, form, item.file)[0]) for item in items])


def png(pixels: np.ndarray) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def grey(value: int, height: int = 4, width: int = 4) -> np.ndarray:
    """Grey pixels of one brightness."""
    return np.full((height, width), value, np.uint8)


def write(
    path: Path,
    labels: Any,
    images: list[bytes | None] | None = None,
    columns: tuple[str, str] = ("image", "label"),
    names: list[str] | None = None,
) -> Path:
    """A Parquet file in the Hugging Face convention with whatever labels and images a test wants."""
    images = [png(grey(i % 256)) for i in range(len(labels))] if images is None else images
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = pa.array([{"bytes": image, "path": "x.png"} for image in images], kind)
    table = pa.table({columns[0]: cells, columns[1]: pa.array(labels)})
    if names:
        features = {columns[1]: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path)
    return path


def folder(root: Path, **classes: int) -> Path:
    """An image folder with so many pictures of each class."""
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i:03}.png").write_bytes(png(grey(i)))
    return root
