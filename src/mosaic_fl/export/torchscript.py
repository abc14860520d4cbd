"""`model.pt`: the model in TorchScript, by tracing; `classes.json` in it has the names of the classes."""

import io
import json
import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from mosaic_fl.export.served import Served
from mosaic_fl.export.trial import Run

FILE = "model.pt"


def torchscript_files(served: Served, example: tuple[Tensor, ...]) -> tuple[dict[str, bytes], Run]:
    """The files by name, and how they run."""
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(served, example, check_trace=False)
        extra = {"classes.json": json.dumps(list(served.schema.classes))}
        torch.jit.save(traced, content, _extra_files=extra)
        content.seek(0)
        loaded = torch.jit.load(content)

    def run(values: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        with torch.no_grad():
            return dict(zip(served.outputs, loaded(*values), strict=True))

    return {FILE: content.getvalue()}, run
