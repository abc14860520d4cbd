"""Where data may lie, told by names alone: no file is read, and nothing is imported that reads one."""

import re
from pathlib import Path

from mosaic_fl.errors import UsageError, unknown
from mosaic_fl.extras import require
from mosaic_fl.storage.pictures import IMAGE_SUFFIXES

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv")
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(:[\w.-]+)?")


def is_data(path: Path) -> bool:
    """Whether a file of that name is taken for data where its folder is read."""
    return path.suffix.lower() in {*IMAGE_SUFFIXES, *TABLE_SUFFIXES}


def reads(source: Path, path: Path) -> bool:
    """Whether who reads `source`, a file, a folder or how the names of tables begin, may read the file `path`."""
    source = at_home(source)
    if _exists(source):
        return path.samefile(source) or (is_data(path) and source.resolve() in path.resolve().parents)
    beginning = path.suffix.lower() in TABLE_SUFFIXES and path.name.startswith(source.name)
    return beginning and path.resolve().parent == source.resolve().parent


def existing(path: str | Path) -> Path:
    """The file or folder `path`, ~ for the home folder; raises UsageError where there is none, with what is near."""
    place = at_home(path)
    if not _exists(place):
        near = _near(place)
        hint = f": did you mean {' or '.join(str(file) for file in near[:3])}?" if near else ""
        raise UsageError(f"{path} does not exist{hint}")
    if not (place.is_file() or place.is_dir()):
        raise UsageError(f"{path} is neither a file nor a folder")
    return place


def is_here(name: str) -> bool:
    """Whether `name` means a file or folder of this machine, and nothing that is built in or on the hub."""
    return not _is_elsewhere(name) and _exists(at_home(name))


def require_source(name: str) -> None:
    """Raise UsageError where nothing on this machine or on the hub can have `name`, a simulation's data set.

    Raises UsageError, too, where it can be the hub's alone and what reads that is not installed.
    """
    if name == "digits" or is_here(name):
        return
    if not name.startswith("hub:"):
        if _begun(at_home(name)):
            return
        if is_lost_path(name) or not HUB_NAME.fullmatch(name):
            raise no_source(name)
    require_hub()


def require_hub() -> None:
    """Raise UsageError where the packages are not installed that read the Hugging Face hub."""
    require("a data set of the Hugging Face hub", "datasets", "huggingface_hub")


def is_lost_path(name: str) -> bool:
    """Whether `name`, by which nothing is there, can only be a path: no data set of the hub is called so."""
    return name.startswith(("/", "~", ".")) or name.endswith((*TABLE_SUFFIXES, "/")) or name.count("/") > 1


def no_source(name: str) -> UsageError:
    """The error for a name of no data set."""
    if is_lost_path(name):
        return UsageError(f"{name} does not exist: give a Parquet file, a folder, hub:NAME or digits")
    return UsageError(
        f"{unknown('data set', name, ['digits'])}; or give the path of a Parquet file or folder, or hub:NAME"
    )


def at_home(path: str | Path) -> Path:
    """`path` with ~ for the home folder; raises UsageError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path} does not exist: there is no such home") from error


def _is_elsewhere(name: str) -> bool:
    return name == "digits" or name.startswith("hub:")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:  # a name too long
        raise UsageError(f"cannot read {str(path)[:200]}: {getattr(error, 'strerror', None) or error}") from error


def _begun(path: Path) -> bool:
    """Whether `path` is how the names of some files begin, as data/mnist of data/mnist-train.parquet."""
    try:
        return any(other.name.startswith(path.name) for other in path.parent.iterdir())
    except (OSError, ValueError):
        return False


def _near(path: Path) -> list[Path]:
    """The tables whose names begin with that of `path`, which is not there."""
    if not _begun(path):
        return []
    from mosaic_fl.data.parts import beginning

    return beginning(path)
