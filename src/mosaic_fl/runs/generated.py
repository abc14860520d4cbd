"""`pictures/generated.json`: a few samples of each client's generator, to look at beside what its audit found."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.domains.image.kind import Image
from mosaic_fl.domains.table.column import Column
from mosaic_fl.domains.table.kind import Table
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.runs.result import GENERATED
from mosaic_fl.server.pool import sheet
from mosaic_fl.storage.files import write_atomic

PER_CLASS = 4  # pictures of a class, two and two
ROWS = 3  # rows of a table of a class
MOST_CLIENTS = 24
MOST_CLASSES = 10  # of a client
MOST_COLUMNS = 12
SIDE = 40  # pixels of a picture at most
GAP = 1
BUDGET = 500_000  # bytes of all pictures as text: a page holds them


def write_generated(contributions: Sequence[Contribution], folder: Path, seed: int) -> None:
    """Write samples of the generators of `contributions` into the run's `folder`.

    The file has one entry for each of `clients`, with its number `client` and either `classes`, the names of those that
    are shown, and `picture`, a PNG in base64 of two by two samples for each of them, side by side; or `columns` and
    `rows`, each with its class first; or `reason`, why there is nothing to see. `more` counts clients for which there
    is no space. All randomness comes from `seed`.
    """
    stream = Stream(seed, "pictures")
    rows = [{"client": one.client, **_shown(one, stream)} for one in contributions[:MOST_CLIENTS]]
    while len(rows) > 1 and len(json.dumps(rows)) > BUDGET:
        rows.pop()
    content = {"clients": rows, "more": len(contributions) - len(rows)}
    write_atomic(folder / GENERATED, json.dumps(content, ensure_ascii=False) + "\n")


def _shown(contribution: Contribution, stream: Stream) -> Mapping[str, Any]:
    if contribution.generator is None:
        return {"reason": contribution.generator_note or "it sent no generator"}
    if contribution.schema.joins:
        return {"reason": "its samples have several fields"}
    kind = contribution.schema.kind
    held = (contribution.class_counts > 0).nonzero().flatten().tolist()[:MOST_CLASSES]
    if not isinstance(kind, Image | Table):
        return {"reason": "its samples are vectors, which nobody can read"}
    values = sheet(contribution, PER_CLASS if isinstance(kind, Image) else ROWS, stream)
    if values is None or not held:
        return {"reason": "its own model recognises none of its samples"}
    names = [contribution.schema.classes[label] for label in held]
    if isinstance(kind, Image):
        return {"classes": names, "picture": base64.b64encode(_png(values[held])).decode()}
    columns = kind.columns[:MOST_COLUMNS]
    rows = [
        [name, *(_cell(column, value) for column, value in zip(columns, row, strict=False))]
        for name, label in zip(names, held, strict=True)
        for row in values[label].tolist()
    ]
    return {"columns": [column.name for column in columns], "rows": rows}


def _png(blocks: Tensor) -> bytes:
    """uint8 (classes, 4, channels, h, w) as one picture: two by two for each class, side by side."""
    from PIL import Image as Pixels

    classes, count, channels, height, width = blocks.shape
    flat = blocks.flatten(0, 1).float()
    flat = flat if channels == 3 else flat.mean(1, keepdim=True)
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = F.interpolate(flat, size, mode="area") if scale < 1 else flat
    tiles = small.round().to(torch.uint8).unflatten(0, (classes, count))
    canvas = torch.full((small.shape[1], 2 * size[0] + GAP, classes * (2 * (size[1] + GAP) + GAP) - 2 * GAP), 128)
    canvas = canvas.to(torch.uint8)
    for place in range(classes):
        left = place * (2 * (size[1] + GAP) + GAP)
        for index in range(count):
            x = left + index % 2 * (size[1] + GAP)
            y = index // 2 * (size[0] + GAP)
            canvas[:, y : y + size[0], x : x + size[1]] = tiles[place, index]
    array = canvas.permute(1, 2, 0).numpy() if len(canvas) == 3 else canvas[0].numpy()
    out = io.BytesIO()
    Pixels.fromarray(array).save(out, "PNG", optimize=True)
    return out.getvalue()


def _cell(column: Column, value: float) -> str:
    """A value at rest as people read it."""
    if isnan(value):
        return "–"
    if column.type == "category":
        return column.categories[int(value)]
    if column.type == "boolean":
        return "yes" if value else "no"
    return f"{value:.0f}" if column.type == "whole" else f"{value:.4g}"
