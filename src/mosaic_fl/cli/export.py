"""`mosaic export`: a global model for another program, held against mosaic itself, with a model card beside it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mosaic_fl.cli.files import Trust, trust_models
from mosaic_fl.cli.options import Force
from mosaic_fl.cli.output import results
from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.exchange.model_file import model_file
from mosaic_fl.export import FORMATS
from mosaic_fl.storage.files import read_bytes, require_file
from mosaic_fl.storage.header import require_ours

MOST_JSON = 2**26


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="a global_model.safetensors, or the folder of a run")],
    *,
    to: Annotated[str, typer.Option("--to", help="onnx, torchscript, torch, sklearn, mosaic, card")],
    out: Annotated[Path, typer.Option(help="folder for the files")],
    tolerance: Annotated[float, typer.Option(help="largest difference from mosaic's answers")] = 1e-2,
    result: Annotated[
        Path | None, typer.Option(metavar="FILE", help="result.json for the card [that of MODEL's folder]")
    ] = None,
    trusted: Trust = None,
    force: Force = False,
) -> None:
    """Write a global model for another program, with preprocessing in it; it must answer as mosaic does on samples."""
    if not model.is_dir():
        require_file(model)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not force)):
        raise UsageError(f"{out} exists: choose another folder, or say --force")
    if to not in FORMATS:
        raise unknown("--to", to, FORMATS)
    file = model_file(model)
    require_ours(file)
    figures = _result(file, result)
    trust_models(trusted)
    from mosaic_fl.exchange.global_model import GlobalModel
    from mosaic_fl.export.exporting import export as export_model

    exported = export_model(GlobalModel.load(file), to, out, figures, tolerance)
    results({
        "folder": out, "files": exported.files, "difference": exported.difference, "samples": exported.samples,
        "left_out": exported.left_out,
    })  # fmt: skip
    for path in exported.files:
        print(f"{path}: {path.stat().st_size:,} bytes")
    if exported.difference is not None:
        print(f"Largest difference from mosaic on {exported.samples} samples: {exported.difference:.2g}")
    if exported.left_out:
        print(f"Left out: {exported.left_out}: the inputs are its vectors")


def _result(model: Path, named: Path | None) -> dict[str, Any]:
    """The content of the `result.json` that is named, or that lies beside the model; empty without one."""
    file = named or model.parent / "result.json"
    if named is None and not file.exists():
        return {}
    try:
        content = json.loads(read_bytes(file, MOST_JSON))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is no result.json: give that of the run, or leave --result out") from error
    if not isinstance(content, dict):
        raise UsageError(f"{file} is no result.json: give that of the run, or leave --result out")
    return content
