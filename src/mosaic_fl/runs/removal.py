"""What a run's folder holds of one client, and its removal. Only files of the run, and copies of the contribution."""

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.model_file import FILE as MODEL
from mosaic_fl.runs.folder import MARKER, OURS
from mosaic_fl.runs.result import FILE as RESULT
from mosaic_fl.runs.sources import FILE as SOURCES
from mosaic_fl.runs.sources import file_digest
from mosaic_fl.storage.files import PARTIAL, remove_partial
from mosaic_fl.storage.journal import Stage
from mosaic_fl.storage.json_lines import read_lines
from mosaic_fl.storage.metrics_file import FILE as METRICS
from mosaic_fl.storage.metrics_file import MAX_METRICS, MetricsFile

RECORD = "withdrawals.json"
SETTINGS = "config.toml"
STAYS = ("contributions", MARKER, SETTINGS, METRICS, SOURCES, RECORD)  # of OURS: they are rewritten, or are others'


def doomed(folder: Path, own: Path | None, digests: Collection[str]) -> dict[str, str]:
    """The SHA-256, by path in `folder`, of all files that go with a client.

    These are its contribution `own`, every file of the bytes of `digests`, and what was computed from it: all files
    of the run that are not in `STAYS`. The model comes first and the contribution last.
    """
    first = [MODEL, RESULT]
    ours = [name for name in OURS if name not in STAYS and name not in first]
    paths = [path for name in [*first, *ours] for path in _files(folder / name)]
    copies = [path for path in _files(folder) if path not in paths and path != own and _same(path, digests)]
    last = [own] if own is not None and own.is_file() else []
    return {str(path.relative_to(folder)): file_digest(path) for path in [*paths, *copies, *last] if path.is_file()}


def remove(folder: Path, names: Collection[str]) -> None:
    """Delete the files `names` of the run, what else was computed, and half-written files.

    Raises MosaicError where the system refuses.
    """
    try:
        for name in names:
            (folder / name).unlink(missing_ok=True)
        for name in OURS:
            path = folder / name
            if name not in STAYS and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif name not in STAYS:
                path.unlink(missing_ok=True)
        remove_partial(folder)
    except OSError as error:
        raise MosaicError(f"cannot remove {error.filename}: {error.strerror}; then give the same command") from error


def client_stages(folder: Path, clients: Collection[int]) -> dict[str, Stage]:
    """The stages of these clients with their curves, from `metrics.jsonl`; a damaged line is left out."""
    stages = {f"client-{client:03d}": Stage() for client in clients}
    for figures in read_lines(folder / METRICS, MAX_METRICS):
        stage = stages.get(str(figures.pop("stage", "")))
        if stage is not None:
            stage.metrics.append(figures)
    return stages


def write_curves(folder: Path, stages: Mapping[str, Stage]) -> None:
    """Replace `metrics.jsonl` by the curves of these stages."""
    MetricsFile(folder).replace(stages)


def foreign(folder: Path) -> list[str]:
    """The names in `folder` that are no files of a run: nobody here knows what they hold."""
    return sorted(path.name for path in folder.iterdir() if path.name not in OURS and not path.name.endswith(PARTIAL))


def _same(path: Path, digests: Collection[str]) -> bool:
    return path.is_file() and file_digest(path) in digests


def _files(place: Path) -> list[Path]:
    """`place`, or all files and links below it where it is a folder."""
    if place.is_dir() and not place.is_symlink():
        return sorted(path for path in place.rglob("*") if path.is_symlink() or path.is_file())
    return [place] if place.is_symlink() or place.exists() else []
