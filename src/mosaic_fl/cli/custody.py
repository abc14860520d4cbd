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
    from mosaic_fl.client.custody import Custody
    from mosaic_fl.exchange.contribution import Contribution

LimitsFile = Annotated[
    Path | None, typer.Option("--limits", metavar="FILE", help="what may leave: its table [limits] (docs/privacy.md)")
]
LogFile = Annotated[
    Path | None, typer.Option("--log", metavar="FILE", help="of all that leaves [with --epsilon: beside --data]")
]


def custody_of(
    limits: Path | None, log: Path | None, data: Path, out: Path, config: Config, *, dry_run: bool
) -> "Custody":
    """The custody of a site that writes files; raises UsageError for a log that cannot be written, before any work."""
    from mosaic_fl.client.custody import Custody

    own = SiteLimits() if limits is None else read_limits(limits)
    place = data.resolve()
    if log is None and config.privacy.epsilon:
        log = place.with_name(f"{place.name}.site-log.jsonl")
    if log is not None:
        if log.resolve() == out.resolve() or (log.exists() and reads(data, log)):
            raise UsageError(f"{log} is --out, or what this command reads: choose another --log")
        try:
            (require_place if dry_run else require_writable)(log)
        except UsageError as error:
            raise UsageError(f"the log of what leaves: {error}".replace("--out", "--log")) from error
    return Custody(own, log, str(place), str(out))


def check(custody: "Custody", site: "Site", config: Config, file: Path | None) -> None:
    """Raise UsageError, before any work, for what the limits forbid, or a budget that is spent."""
    from mosaic_fl.client.custody import CONTRIBUTION
    from mosaic_fl.exchange.privacy import Statement
    from mosaic_fl.numerics.devices import find_device

    privacy = config.privacy
    statement = Statement(privacy.epsilon, privacy.delta) if privacy.epsilon else None
    try:
        custody.check(site, config, find_device(config.run.device), CONTRIBUTION)
        custody.foresee(site, CONTRIBUTION, statement)
    except RefusalError as error:
        raise _with_file(error, file) from error
    custody.read(site)


def release(custody: "Custody", site: "Site", contribution: "Contribution", content: bytes, file: Path | None) -> None:
    """Log that the contribution leaves; raises UsageError where a budget does not allow it."""
    from mosaic_fl.client.custody import CONTRIBUTION
    from mosaic_fl.exchange.contents import present

    fields = [item.name for item in present(contribution) if item.name != "validation"]
    try:
        custody.release(site, CONTRIBUTION, content, contribution.privacy, fields=fields)
    except RefusalError as error:
        raise _with_file(error, file) from error


def budget_line(custody: "Custody", site: "Site") -> str:
    """What all that left of the data has cost, and the budget."""
    from mosaic_fl.client.budget import spending

    spent = spending(custody.released(site, custody.entries()))
    limits = custody.limits
    most = "no budget is set: limits.epsilon of --limits"
    if limits is not None and limits.epsilon is not None:
        most = f"the budget is ε = {limits.epsilon:g}"
    return f"Left of these data so far: {spent.summary} ({most}; {custody.log})"


def _with_file(error: RefusalError, file: Path | None) -> UsageError:
    if file is None:
        return UsageError(f"{error} (the default: --limits FILE has limits of your own)")
    return UsageError(f"{file}: {error}")
