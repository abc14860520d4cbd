"""Checks of names and paths of data. They read no file and import no reader, so a command makes them first."""

import re
from pathlib import Path

from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.extras import require
from mosaic_fl.storage.files import near_hint
from mosaic_fl.storage.pictures import IMAGE_SUFFIXES

EMBEDDED_TABLES = ("breast_cancer", "wine")
EMBEDDED_VIEWS = "digits-views"
EMBEDDED = ("digits", EMBEDDED_VIEWS, *EMBEDDED_TABLES)
"""The names of data sets that need no file: `data.embedded` has them."""
TABLE_SUFFIXES = (".parquet", ".csv", ".tsv", ".npz", ".npy")
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")


def is_data(path: Path) -> bool:
    """Whether a file of that name counts as data when its folder is read."""
    return path.suffix.lower() in {*IMAGE_SUFFIXES, *TABLE_SUFFIXES}


def reads(source: Path, path: Path) -> bool:
    """Whether reading `source` (a file, a folder, or the beginning of table names) may read the file `path`."""
    source = at_home(source)
    if _exists(source):
        return path.samefile(source) or (is_data(path) and source.resolve() in path.resolve().parents)
    beginning = path.suffix.lower() in TABLE_SUFFIXES and path.name.startswith(source.name)
    return beginning and path.resolve().parent == source.resolve().parent


def existing(path: str | Path) -> Path:
    """The file or folder `path`, ~ for the home folder; raises UsageError, with near names, where there is none."""
    place = at_home(path)
    if not _exists(place):
        near = _near(place)
        hint = f"did you mean {' or '.join(str(file) for file in near[:3])}?" if near else near_hint(place)
        raise UsageError(": ".join(filter(None, (f"{path} does not exist", hint))))
    if not (place.is_file() or place.is_dir()):
        raise UsageError(f"{path} is neither a file nor a folder")
    return place


def is_here(name: str) -> bool:
    """Whether `name` is a file or folder of this machine, and not a data set that is built in or on the hub."""
    return not _is_elsewhere(name) and _exists(at_home(name))


def require_source(name: str) -> None:
    """Raise UsageError where `name`, of a simulation's data set, can be neither on this machine nor on the hub.

    Raises UsageError, too, where it can only be on the hub and the packages to read that are not installed.
    """
    if name in EMBEDDED or is_here(name):
        return
    if not name.startswith("hub:"):
        if _is_beginning(at_home(name)):
            return
        if is_lost_path(name) or not HUB_NAME.fullmatch(name):
            raise no_source(name)
    require_hub()


def require_hub() -> None:
    """Raise UsageError where the packages to read the Hugging Face hub are not installed."""
    require("a data set of the Hugging Face hub", "datasets", "huggingface_hub")


def is_lost_path(name: str) -> bool:
    """Whether `name`, which does not exist, can only be a path: no data set of the hub has such a name."""
    return name.startswith(("/", "~", ".")) or name.endswith((*TABLE_SUFFIXES, "/")) or name.count("/") > 1


def no_source(name: str) -> UsageError:
    """The error for a name that is no data set."""
    if is_lost_path(name):
        return UsageError(f"{name} does not exist: give a Parquet file, a folder, hub:NAME or digits")
    return UsageError(
        f"{unknown('data set', name, EMBEDDED)}; or give the path of a Parquet file or folder, or hub:NAME"
    )


def at_home(path: str | Path) -> Path:
    """`path` with ~ for the home folder; raises UsageError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path} does not exist: there is no such home") from error


def _is_elsewhere(name: str) -> bool:
    return name in EMBEDDED or name.startswith("hub:")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:  # a name too long
        raise UsageError(f"cannot read {str(path)[:200]}: {getattr(error, 'strerror', None) or error}") from error


def _is_beginning(path: Path) -> bool:
    """Whether the names of some files begin with `path`, as data/mnist-train.parquet with data/mnist."""
    try:
        return any(file.name.startswith(path.name) for file in path.parent.iterdir())
    except (OSError, ValueError):
        return False


def _near(path: Path) -> list[Path]:
    """The tables whose names begin with that of `path`, which does not exist."""
    if not _is_beginning(path):
        return []
    from mosaic_fl.data.parts import beginning

    return beginning(path)
