"""`mosaic schema --statistics` at a site, and `mosaic schema --merge` of the files of all."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_fl.cli.custody import budget_line, with_file
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free
from mosaic_fl.config import ReadingConfig
from mosaic_fl.errors import RefusalError, UsageError
from mosaic_fl.exchange.seal import Seal
from mosaic_fl.exchange.signers import Signers
from mosaic_fl.storage.keys import PrivateKey

if TYPE_CHECKING:
    from mosaic_fl.client.custody import Custody

SCHEMA = ".toml"  # the suffix of a schema of tables
MOST = 30  # columns that are listed
UNPROTECTED = (
    "Not protected by ε: the names of columns, their types, why a column is left out, the label's name, words for a "
    "missing value"
)


@dataclass(frozen=True)
class SiteOptions:
    """What the options of `--statistics` say."""

    label: str
    client: int
    least: int
    ignore: Sequence[str]
    missing: Sequence[str]
    public: Sequence[str]
    epsilon: float | None
    sums: bool


def write_statistics(
    data: Path,
    reading: ReadingConfig,
    options: SiteOptions,
    out: Path,
    custody: "Custody",
    limits: Path | None,
    seal: Seal,
) -> None:
    """Write the statistics of one site's table under `seal`, and print what they tell; its `limits` may refuse them."""
    from mosaic_fl.client.custody import Thing
    from mosaic_fl.client.survey import told_of
    from mosaic_fl.data.table.public import public_of_options
    from mosaic_fl.data.table.reading import read_frames
    from mosaic_fl.data.table.survey import Survey
    from mosaic_fl.data.tables import tell_idle
    from mosaic_fl.storage.files import write_atomic

    tell_idle(reading, str(data))
    public = public_of_options(options.public)
    how = Survey(options.client, options.least, options.ignore, options.missing, public, options.epsilon, options.sums)
    frame = read_frames([data], str(data))
    digest = ""
    if data.is_file():
        with data.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    table = Thing(data_digest=digest)
    try:
        told, content = told_of(frame, options.label, how, custody, table, seal)
    except RefusalError as error:
        raise with_file(error, limits) from error
    write_atomic(out, content)
    for line in told.lines(MOST):
        print(line, file=sys.stderr)
    if told.epsilon is not None:
        print(
            f"ε = {told.epsilon:g} and δ = {told.delta:g} in all: every count has noise. Each further file of these "
            f"rows spends as much again\n{budget_line(custody, table)}\n{UNPROTECTED}",
            file=sys.stderr,
        )
    results(
        {"file": out, "bytes": len(content), "client": told.client, "rows": told.rows, "classes": dict(told.classes)}
        | {"epsilon": told.epsilon, "delta": told.delta}
    )
    print(f"{out}: {out.stat().st_size:,} bytes · client {told.client}{seal.words}")


def merge_statistics(
    files: Sequence[Path], out: Path | None, force: bool, key: PrivateKey | None, signers: Signers | None
) -> None:
    """Print or write the schema of all sites, and what to know of it.

    Encrypted statistics are read by `key`, and with `signers` each must be signed.
    """
    if out is not None:
        require_toml(out)
        require_free(out, force, *files)
    from mosaic_fl.data.fields.schema_toml import schema_toml
    from mosaic_fl.data.table.draft import tell
    from mosaic_fl.data.table.merging import merge
    from mosaic_fl.data.table.pooled import pool
    from mosaic_fl.data.table.site_statistics import MAX_BYTES, Statistics
    from mosaic_fl.data.table.sketch import most_error
    from mosaic_fl.runs.signed_files import read_signed
    from mosaic_fl.storage.files import write_atomic

    command = "schema --statistics"
    by_client = read_signed(files, Statistics.from_bytes, key, signers, command=command, limit=2 * MAX_BYTES)
    sites = list(by_client.values())
    merged = merge(sites)
    tell(merged, "the sites")
    rows = sum(site.rows for site in sites)
    error = most_error([site.rows for site in sites], [site.least for site in sites])
    print(f"{len(sites)} site{'s' * (len(sites) != 1)}, {rows:,} rows: {merged.schema.summary}", file=sys.stderr)
    if any(site.epsilon is not None for site in sites):
        noisy = ", ".join(f"{site.epsilon:g} (client {site.client})" for site in sites if site.epsilon is not None)
        print(f"Counts are noisy, ε = {noisy}: knots are as exact as the noise lets them", file=sys.stderr)
    else:
        print(f"Knots are quantiles of all rows within {error:,} ranks", file=sys.stderr)
    for column in pool(sites):
        if (mean := column.mean) is not None:
            print(f"{column.name!r}: mean {mean:.4g}, {column.absent:,} missing", file=sys.stderr)
    text = schema_toml(merged.schema, list(merged.left_out))
    left_out = dict(merged.left_out)
    results({"file": out, "schema": merged.schema.to_json(), "left_out": left_out, "sites": len(sites), "rows": rows})
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomic(out, text)
        print(f"Schema: {out}")


def require_toml(out: Path) -> None:
    """Raise UsageError unless a file to write has the suffix of a schema of tables."""
    if out.suffix.lower() != SCHEMA:
        raise UsageError(f"--out {out}: a schema of tables is TOML, so end its name in .toml")


def require_none(option: str, values: Mapping[str, object]) -> None:
    """Raise UsageError where other options are there beside `option`, which has no use for them."""
    if idle := [name for name, value in values.items() if value not in (None, False)]:
        raise UsageError(f"{option} has no use for {', '.join(idle)}: leave out what does not belong to it")
