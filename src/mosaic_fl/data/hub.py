"""Data sets of the Hugging Face hub. The package `datasets` downloads them into its own cache."""

from typing import Any

from mosaic_fl.config import ReadingConfig
from mosaic_fl.data.names import listing
from mosaic_fl.data.part_names import part_of
from mosaic_fl.data.places import require_hub
from mosaic_fl.data.reading import rows_of_table
from mosaic_fl.data.rows import READING, Rows
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note

# Without a network `datasets` fails after 23 s only; a request with this limit fails at once.
REACH_SECONDS = 10.0

# `datasets` runs no code of a data set (since version 4), but its readers of other formats may unpickle.
SAFE_FORMATS = ("parquet", "arrow", "imagefolder")
# Formats whose pictures are files of `datasets`. In a table of another format a path may name any file of this machine.
OF_FILES = ("imagefolder",)


def read_hub(name: str, reading: ReadingConfig = READING) -> tuple[Rows, Rows | None]:
    """The training rows of ORG/NAME or ORG/NAME:CONFIGURATION, and its test rows, if it has any.

    Without a split called "test" the validation split is the test set. Raises UsageError where the
    hub cannot be reached, has no such data set, or has it in a format that is not safe to read.
    With HF_HUB_OFFLINE=1 in the environment a data set in the cache needs no network.
    """
    require_hub()
    repository, _, configuration = name.partition(":")
    _reach(repository)
    try:
        import datasets

        builder = datasets.load_dataset_builder(repository, configuration or None)
        kind = type(builder).__module__.rpartition(".")[2]
        if kind not in SAFE_FORMATS:
            raise UsageError(f"hub:{name} is stored as {kind}: only {', '.join(SAFE_FORMATS)} are read")
        builder.download_and_prepare()
        splits = builder.as_dataset()
    except UsageError:
        raise
    except Exception as error:  # `datasets` raises dozens of types of error for faults of a data set
        raise UsageError(
            f"hub:{name} cannot be loaded: {_reason(error)}; the path of Parquet files works too"
        ) from error
    return rows_of_splits(splits, f"hub:{name}", reading, paths=kind in OF_FILES)


def rows_of_splits(
    splits: Any, source: str, reading: ReadingConfig = READING, *, paths: bool = False
) -> tuple[Rows, Rows | None]:
    """The (training, test) rows of a `datasets.DatasetDict`; a note says where the validation split is the test set.

    `paths` allows pictures in files of their own; only `datasets` itself may have written these.
    """
    parts = dict[str, str]()
    for split in sorted(splits, key=lambda split: split not in ("train", "validation", "test")):
        parts.setdefault(part_of(split) or split, split)
    if "train" not in parts:
        raise UsageError(f"{source} has no split called train; it has {', '.join(splits)}")
    test = parts.get("test", parts.get("validation"))
    if test and "test" not in parts:
        note(f"{source} has no test split: {test} serves as one")
    if unread := [split for split in splits if split not in (parts["train"], test)]:
        note(f"splits of {source} that are not read: {listing(unread)}")
    train = _rows(splits[parts["train"]], source, reading, paths)
    return train, _rows(splits[test], source, reading, paths) if test else None


def _rows(split: Any, source: str, reading: ReadingConfig, paths: bool) -> Rows:
    # The class names are in the features, which the stored table may lack.
    table = split.data.table.replace_schema_metadata(split.features.arrow_schema.metadata)
    return rows_of_table(table, f"{source} ({split.split})", reading, paths=paths)


def _reach(repository: str) -> None:
    """Raise UsageError, within seconds, where the hub does not have the data set or does not answer."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    if constants.HF_HUB_OFFLINE:
        return
    try:
        HfApi().dataset_info(repository, timeout=REACH_SECONDS)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UsageError(f"the Hugging Face hub has no data set {repository!r}, or it is private") from error
    except Exception as error:  # no network, a proxy, a name no data set can have
        raise UsageError(
            f"the Hugging Face hub does not answer ({_reason(error)}), and {repository!r} is no local path: "
            "give the path of Parquet files, or set HF_HUB_OFFLINE=1 to use a copy in the cache"
        ) from error


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
