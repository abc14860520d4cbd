"""The files that a command writes: where they may be."""

from pathlib import Path

from mosaic_fl.cli.keys import seal_of
from mosaic_fl.data.places import reads
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.seal import Seal
from mosaic_fl.storage.files import require_place, require_writable


def require_free(path: Path, force: bool, *sources: Path, dry_run: bool = False) -> None:
    """Raise UsageError if `path` cannot be written, or if writing it would destroy something.

    A file in one of `sources`, which the command reads, is not overwritten even with `force`.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder: --out names a file")
    for source in sources:
        if path.exists() and reads(source, path):
            raise UsageError(f"{path} is what this command reads: choose another --out")
    if path.exists() and not force:
        raise UsageError(f"{path} exists: add --force to overwrite it, or choose another file")
    (require_place if dry_run else require_writable)(path)


def regional(
    place: Path | None, client: int | None, contributions: list[Path], *, again: bool, dry_run: bool
) -> tuple[Path, int] | None:
    """The values of --as-contribution and --client, None without them; raises UsageError for one alone."""
    if place is None and client is None:
        return None
    if place is None or client is None:
        raise UsageError("--as-contribution FILE and --client N belong together: give both, or none")
    require_free(place, again, *contributions, dry_run=dry_run)
    return place, client


def regional_seal(
    region: tuple[Path, int] | None, encrypt_for: list[str] | None, sign: Path | None, run: str | None
) -> Seal:
    """What is done to the file of --as-contribution; raises UsageError for keys without such a file."""
    for option, value in (("--encrypt-for", encrypt_for), ("--sign", sign)):
        if region is None and value:
            raise UsageError(f"{option} is for the file of --as-contribution: give that, too")
    return seal_of(encrypt_for, sign, run)
