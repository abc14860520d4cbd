"""Labelled images as a Parquet file that `load_file` and Hugging Face `datasets` read back bit for bit."""

import io
import json
from pathlib import Path

from torch import Tensor

from mosaic_fl.data.dataset import ImageData
from mosaic_fl.errors import UsageError
from mosaic_fl.files import write_atomic


def save_parquet(data: ImageData, path: str | Path) -> None:
    """Write `data` in the Hugging Face image convention: PNG bytes, int64 labels, class names as metadata.

    Raises UsageError unless the images have 1 (grey) or 3 (RGB) channels, the ones this convention keeps;
    MosaicError where the file cannot be written. The file is whole or absent.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    channels = data.schema.shape[0]
    if channels not in (1, 3):
        raise UsageError(f"images of {channels} channels cannot be stored as PNG: only 1 (grey) or 3 (RGB)")
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(data.schema.classes), "_type": "ClassLabel"},
    }
    schema = pa.schema(
        {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()},
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    images = [{"bytes": _png(image), "path": None} for image in data.images]
    file = io.BytesIO()
    pq.write_table(pa.table({"image": images, "label": data.labels.numpy()}, schema=schema), file)
    write_atomic(Path(path), file.getvalue())


def _png(image: Tensor) -> bytes:
    """One image, uint8 (1 or 3, h, w), as the bytes of a PNG file."""
    from PIL import Image

    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(pixels.contiguous().numpy()).save(file, format="PNG")
    return file.getvalue()
