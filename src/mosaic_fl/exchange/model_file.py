"""Where a global model's file is: itself, or in the folder of a run."""

import json
from pathlib import Path

from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import read_bytes, require_path

FILE = "global_model.safetensors"  # its name in the folder of a run


def model_file(path: Path) -> Path:
    """The file `path`, or the global model in the run's folder `path`; raises UsageError where a folder has none."""
    require_path(path)
    if not path.is_dir():
        return path
    if (path / FILE).exists():
        return path / FILE
    raise UsageError(f"{path} {_absence(path)}")


def _absence(folder: Path) -> str:
    """The reason why a folder has no global model, from the files of a run in it."""
    try:
        result = json.loads(read_bytes(folder / "result.json"))
    except (UsageError, ValueError, RecursionError):
        result = None
    if isinstance(result, dict) and isinstance(result.get("method"), str) and result.get("student") is None:
        method = str(result.get("title") or result["method"])[:80]
        return f"holds a run of {method}, which serves its clients' models as an ensemble: there is no one global model"
    if (folder / "table.json").exists() or (folder / "cells").is_dir():
        return "holds a comparison, which keeps no models: mosaic run makes one"
    if (folder / "inputs.json").exists():
        return f"holds a run that has no {FILE} yet: mosaic status says how far it is"
    return f"is a folder without a {FILE}: give the folder of a run, or such a file"
