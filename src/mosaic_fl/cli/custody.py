"""A site's limits and log at `mosaic contribute`: checked before the work, written before anything leaves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic_fl.config import Config
from mosaic_fl.config.site_limits import SiteLimits, read_limits
from mosaic_fl.data.places import reads
from mosaic_fl.errors import RefusalError, UsageError
from mosaic_fl.storage.files import require_place, require_writable

if TYPE_CHECKING:
    from mosaic_fl.client.contribute import Site
    from mosaic_fl.client.custody import Custody, Holder
    from mosaic_fl.exchange.contribution import Contribution

LimitsFile = Annotated[
    Path | None, typer.Option("--limits", metavar="FILE", help="what may leave: its table [limits] (docs/privacy.md)")
]
LogFile = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="of all that leaves [with --epsilon, --limits: beside --data]"),
]


def custody_of(
    limits: Path | None, log: Path | None, data: Path, out: Path, config: Config, *, dry_run: bool
) -> "Custody":
    """The custody of a site that writes files; raises UsageError for a log that cannot be written, before any work."""
    own = SiteLimits() if limits is None else read_limits(limits)
    from mosaic_fl.client.custody import Custody

    log = _log_of(log, data, out, always=bool(config.privacy.epsilon) or limits is not None, dry_run=dry_run)
    return Custody(own, log, str(data.resolve()), str(out))


def custody_of_figures(limits: Path | None, log: Path | None, data: Path, out: Path, *, private: bool) -> "Custody":
    """The same of a site that writes statistics of a table, or scores; without a file of limits it has none."""
    own = None if limits is None else read_limits(limits)
    from mosaic_fl.client.custody import Custody

    log = _log_of(log, data, out, always=private or limits is not None, dry_run=False)
    return Custody(own, log, str(data.resolve()), str(out))


def answering(limits: Path | None, log: Path | None, model: str, query: Path, out: Path) -> tuple["Custody", "Holder"]:
    """The custody of a site that answers a query, and the model that does.

    Raises UsageError, before any work, where the limits forbid an answer, and where nothing could count them.
    """
    if limits is not None and log is None:
        raise UsageError(f"{limits}: limits.queries counts answers by a log: give --log FILE, too")
    own = SiteLimits() if limits is None else read_limits(limits)
    if log is not None:
        _require_log(log, out, query, dry_run=False)
    file = Path(model)
    place = str(file.resolve()) if file.exists() else model
    from mosaic_fl.client.custody import ANSWER, Custody, Thing

    custody = Custody(own, log, place, str(out))
    holder = Thing(place)
    try:
        custody.check_gate(ANSWER)
        custody.foresee(holder, ANSWER, None)
    except RefusalError as error:
        raise with_file(error, limits) from error
    return custody, holder


def release_answer(custody: "Custody", holder: "Holder", content: bytes, samples: int, file: Path | None) -> None:
    """Log that an answer to a query of so many `samples` leaves; raises UsageError where so many have left."""
    from mosaic_fl.client.custody import ANSWER

    try:
        custody.release(holder, ANSWER, content, None, samples=samples)
    except RefusalError as error:
        raise with_file(error, file) from error


def _log_of(log: Path | None, data: Path, out: Path, *, always: bool, dry_run: bool) -> Path | None:
    """The file of the log, beside the data where none is named and there is `always` one."""
    if log is None and always:
        place = data.resolve()
        log = place.with_name(f"{place.name}.site-log.jsonl")
    if log is not None:
        _require_log(log, out, data, dry_run=dry_run)
    return log


def _require_log(log: Path, out: Path, data: Path, *, dry_run: bool) -> None:
    if log.resolve() == out.resolve() or (log.exists() and reads(data, log)):
        raise UsageError(f"{log} is --out, or what this command reads: choose another --log")
    try:
        (require_place if dry_run else require_writable)(log)
    except UsageError as error:
        raise UsageError(f"the log of what leaves: {error}".replace("--out", "--log")) from error


def check(custody: "Custody", site: "Site", config: Config, file: Path | None) -> None:
    """Raise UsageError, before any work, for what the limits forbid, or a budget that is spent."""
    from mosaic_fl.client.sending import admit
    from mosaic_fl.numerics.devices import find_device

    try:
        admit(custody, site, config, find_device(config.run.device))
    except RefusalError as error:
        raise with_file(error, file) from error


def release(custody: "Custody", site: "Site", contribution: "Contribution", content: bytes, file: Path | None) -> None:
    """Log that the contribution leaves; raises UsageError where a budget does not allow it."""
    from mosaic_fl.client.sending import record

    try:
        record(custody, site, contribution, content)
    except RefusalError as error:
        raise with_file(error, file) from error


def budget_line(custody: "Custody", site: "Holder") -> str:
    """What all that left of the data has cost, and the budget."""
    from mosaic_fl.client.budget import spending

    limits = custody.limits
    delta = None if limits is None or limits.epsilon is None else limits.delta
    spent = spending(custody.released(site, custody.entries()), delta)
    most = "no budget is set: limits.epsilon of --limits"
    if limits is not None and limits.epsilon is not None:
        most = f"the budget is ε = {limits.epsilon:g}"
    return f"Left of these data so far: {spent.summary} ({most}; {custody.log})"


def with_file(error: RefusalError, file: Path | None) -> UsageError:
    """The refusal with the file of limits that it comes from."""
    if file is None:
        return UsageError(f"{error} (the default: --limits FILE has limits of your own)")
    return UsageError(f"{file}: {error}")
