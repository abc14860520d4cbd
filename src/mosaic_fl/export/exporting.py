"""A global model in a folder for another program, held against mosaic itself before anything is written."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.errors import MosaicError, UsageError, excerpt, unknown
from mosaic_fl.exchange.card import CARD, Export, model_card
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.model_file import FILE
from mosaic_fl.export import FORMATS
from mosaic_fl.export.onnx_file import onnx_files
from mosaic_fl.export.served import Served
from mosaic_fl.export.sklearn_folder import sklearn_files
from mosaic_fl.export.torch_code import torch_files
from mosaic_fl.export.torchscript import torchscript_files
from mosaic_fl.export.trial import TOLERANCE, Run, require_equal, trial_samples
from mosaic_fl.release import release
from mosaic_fl.storage.files import write_atomic

EXAMPLES = 5  # samples with which a network is recorded: no size of a network, as a rule


@dataclass(frozen=True)
class Exported:
    """The `files` in a folder, the largest `difference` from mosaic on `samples` samples, and what was `left_out`."""

    files: tuple[Path, ...]
    difference: float | None
    samples: int
    left_out: str


def export(
    model: GlobalModel, to: str, out: Path, result: Mapping[str, Any] | None = None, tolerance: float = TOLERANCE
) -> Exported:
    """Write the model in the format `to` into the folder `out`, beside a model card; `result` is that of its run.

    Raises UsageError for an unknown format and for a model that has no such form, MosaicError where the format's
    answers differ by more than `tolerance` on random samples: then nothing is written.
    """
    if to not in FORMATS:
        raise unknown("--to", to, FORMATS)
    if not tolerance > 0:
        raise UsageError(f"--tolerance {tolerance} is not above 0: 0.01 is the default")
    files: dict[str, bytes] = {}
    difference = None
    samples = 0
    left_out = ""
    about = Export(to, ())
    if to == "mosaic":
        files = {FILE: model.to_bytes()}
    elif to != "card":
        served = Served(model).eval()
        files, run = _files(model, served, to)
        difference = require_equal(served, run, tolerance, f"--to {to}: the exported model")
        samples = len(trial_samples(served))
        left_out = served.left_out
        about = Export(to, tuple(f"{one.form}, {one.words}" for one in served.inputs))
    files[CARD] = model_card(model, result or {}, about, release()).encode()
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomic(out / name, content)
    return Exported(tuple(out / name for name in files), difference, samples, left_out)


def _files(model: GlobalModel, served: Served, to: str) -> tuple[dict[str, bytes], Run]:
    if to == "sklearn":
        return sklearn_files(model, served)
    example = served.tensors(trial_samples(served, EXAMPLES))
    try:
        with torch.no_grad(), _plain_einsum():
            if to == "onnx":
                return onnx_files(served, example)
            if to == "torchscript":
                return torchscript_files(served, example)
            return torch_files(served, example, release())
    except (MosaicError, UsageError):
        raise
    except Exception as error:  # recorders raise anything
        why = excerpt(error, 200)
        raise MosaicError(f"--to {to}: the network cannot be recorded ({why}): take another format") from error


@contextmanager
def _plain_einsum() -> Iterator[None]:
    """Sums of products in the order that is written, whatever the sizes of the example."""
    before = torch.backends.opt_einsum.enabled
    torch.backends.opt_einsum.enabled = False
    try:
        yield
    finally:
        torch.backends.opt_einsum.enabled = before
