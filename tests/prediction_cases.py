"""What tests of predictions share: a model whose word is known, pictures, and the command."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from image_files import grey, png
from mosaic_fl.cli.main import main
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.models import trust

NAMES = ("dark", "bright", "neither")
# A picture of brightness b has the logits (−b, b, 0) for b in −1..1 from black to white.
DARK = [0.665241, 0.090031, 0.244728]  # softmax of (1, −1, 0): e, 1/e and 1 over their sum
BRIGHT = [0.090031, 0.665241, 0.244728]


def mean_of(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))


def grey_mean() -> nn.Module:
    return mean_of(1)


def colour_mean() -> nn.Module:
    return mean_of(3)


def five_channels() -> nn.Module:
    return mean_of(5)


def brightness(channels: int = 1, side: tuple[int, int] = (4, 4), names: tuple[str, ...] = NAMES) -> GlobalModel:
    """A model of a picture's mean brightness."""
    factory = {1: grey_mean, 3: colour_mean, 5: five_channels}[channels]
    weight = torch.tensor([[-1.0], [1.0], [0.0]]).expand(3, channels) / channels
    state = {"module.2.weight": weight.clone(), "module.2.bias": torch.zeros(3)}
    return GlobalModel(trust(factory), image_schema((channels, *side), names), state)


def pictures(root: str = "new", **files: bytes) -> Path:
    """A folder with these files, `__` in a name for a folder's end and `_` for a full stop."""
    for name, content in files.items():
        path = Path(root, name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return Path(root)


BLACK, WHITE = png(grey(0)), png(grey(255))
BROKEN = b"no picture"


def predict(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> tuple[str, str]:
    """stdout and stderr of `mosaic predict m.safetensors --data new` with `words` more, or others of these."""
    given = list(map(str, words))
    if not given or given[0].startswith("--"):
        given = ["m.safetensors", *given]
    if "--data" not in given:
        given += ["--data", "new"]
    with pytest.raises(SystemExit) as ended:
        main(["predict", *given])
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    assert "Traceback" not in err
    return out, err


def rows(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in predict(capsys, *words, code=code)[0].splitlines()]


def parquet(where: str, images: list[bytes | None], **columns: list[Any]) -> Path:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    names = columns.pop("paths", [None] * len(images))
    cells = pa.array([{"bytes": b, "path": n} for b, n in zip(images, names, strict=True)], kind)
    pq.write_table(pa.table({"image": cells, **columns}), where)
    return Path(where)
