"""The functions of the library for sites' tables: what a site tells of its own, and the one schema of all sites."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mosaic_fl.arguments import own_custody
from mosaic_fl.client.custody import Thing
from mosaic_fl.client.survey import told_of
from mosaic_fl.config import DataConfig
from mosaic_fl.data.fields.schema_toml import schema_toml
from mosaic_fl.data.memory import with_labels
from mosaic_fl.data.table.draft import tell
from mosaic_fl.data.table.frame import Frame
from mosaic_fl.data.table.merging import merge
from mosaic_fl.data.table.public import public_of
from mosaic_fl.data.table.reading import frame_of
from mosaic_fl.data.table.site_statistics import Statistics
from mosaic_fl.data.table.survey import Survey
from mosaic_fl.domains.schema import Schema
from mosaic_fl.storage.files import sha256, write_atomic


def statistics(
    rows: Any,
    labels: Any,
    *,
    client: int,
    names: Sequence[str] | None = None,
    ignore: Collection[str] = (),
    least_rows: int = DataConfig().least_rows,
    missing: Sequence[str] = DataConfig().missing,
    public: Mapping[str, Any] | None = None,
    epsilon: float | None = None,
    sums: bool = False,
    limits: str | Path | None = None,
    log: str | Path | None = None,
) -> Statistics:
    """What one site tells of its rows, so that `merge_statistics` can make one schema for all: docs/tables.md.

    `rows`, `labels`, `names` and `ignore` are as in `from_table`. `client` is another number at each site. `least_rows`
    stand behind each value. `public` has what everyone may know by column: (low, high), or a list of categories. With
    `epsilon` every count has noise; columns of numbers need a public range then. `sums` tells their sums, too.
    `limits` and `log` are the files of `contribute`: what is returned is in the log, and counts against the same
    budget. Raises UsageError, also for what the limits forbid.

    >>> site = statistics({"age": [31, 54] * 20}, ["no", "yes"] * 20, client=0)
    >>> site.rows, site.classes
    (40, {'no': 20, 'yes': 20})
    """
    custody = own_custody(limits, log)
    frame, label = with_labels(frame_of(rows, names), labels)
    how = Survey(client, least_rows, tuple(ignore), tuple(missing), public_of(public or {}), epsilon, sums)
    return told_of(frame, label, how, custody, Thing(data_digest=_digest(frame)))[0]


def merge_statistics(sites: Iterable[Statistics | str | Path], out: str | Path | None = None) -> Schema:
    """The schema of all sites from their statistics, or the files of these, in any order.

    `out` is a TOML file to write, as `mosaic schema` does. Notes say what is left out, and where sites differ. Raises
    UsageError for files that are no statistics, and for sites that have no schema in common.
    """
    merged = merge([site if isinstance(site, Statistics) else Statistics.load(site) for site in sites])
    tell(merged, "the sites")
    if out is not None:
        write_atomic(Path(out), schema_toml(merged.schema, list(merged.left_out)))
    return merged.schema


def _digest(frame: Frame) -> str:
    """SHA-256 of all cells."""
    parts = [repr((name, cells.dtype.str, cells.tolist())).encode() for name, cells in frame.columns.items()]
    return sha256(*parts)
