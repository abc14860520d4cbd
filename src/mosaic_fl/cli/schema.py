"""`mosaic schema`: draft the schema of tables that all sites share, or hold data against one."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mosaic_fl.cli.custody import LimitsFile, LogFile, custody_of_figures
from mosaic_fl.cli.keys import EncryptFor, KeyFile, RunId, Sign, SignersFolder, key_in, seal_of, signers_of
from mosaic_fl.cli.options import Force, configure, words
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free
from mosaic_fl.cli.reading import reads_images
from mosaic_fl.cli.statistics import (
    SCHEMA,
    SiteOptions,
    merge_statistics,
    require_none,
    require_toml,
    write_statistics,
)
from mosaic_fl.cli.tables import field_options
from mosaic_fl.config import DataConfig
from mosaic_fl.config.experiment import MISSING
from mosaic_fl.data.places import existing
from mosaic_fl.errors import UsageError

if TYPE_CHECKING:
    from mosaic_fl.data.table.draft import Draft

MOST = 30  # columns that the closing line names


@reads_images("encoder")
def schema(
    files: Annotated[
        list[Path], typer.Argument(metavar="DATA", help="a site's table: CSV, TSV or Parquet; with --merge: statistics")
    ],
    *,
    reading: dict[str, Any],
    ignore: Annotated[str | None, typer.Option(metavar="NAME,…", help="columns that are no features")] = None,
    missing: Annotated[
        str | None, typer.Option(metavar="WORD,…", help="words for a missing value [NA,NaN,?,null]")
    ] = None,
    least_rows: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="rows that stand behind each value that is written [5]")
    ] = None,
    check: Annotated[Path | None, typer.Option(metavar="FILE", help="hold DATA against this schema instead")] = None,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="write what this site tells for the schema of all: counts, quantiles")
    ] = False,
    client: Annotated[int | None, typer.Option(min=0, max=9999, help="of --statistics: this site's number")] = None,
    epsilon: Annotated[
        float | None, typer.Option(metavar="E", help="of --statistics: noise on each count, ε in all")
    ] = None,
    public: Annotated[
        list[str] | None,
        typer.Option("--public", metavar="NAME=LOW:HIGH", help="of --statistics: a public range, or NAME=WORD,…"),
    ] = None,
    sums: Annotated[bool, typer.Option("--sums", help="of --statistics: sums of numbers, for means")] = False,
    limits: LimitsFile = None,
    log: LogFile = None,
    encrypt_for: EncryptFor = None,
    sign: Sign = None,
    run_id: RunId = None,
    merge: Annotated[bool, typer.Option("--merge", help="make the schema of all sites' statistics")] = False,
    key: KeyFile = None,
    signers: SignersFolder = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="write here instead of the screen")] = None,
    force: Force = False,
) -> None:
    """Draft the schema of a table for all sites to agree on; with --check, list how data differ from one.

    With --image-column, once or more, samples have several fields: these images, and the other columns as a table.
    With --statistics at each site and --merge anywhere, the schema is made of all sites' tables, none of which moves.
    """
    for file in files:
        existing(file)
    site = {"--client": client, "--epsilon": epsilon, "--public": public, "--sums": sums, "--limits": limits}
    site |= {"--log": log, "--sign": sign, "--encrypt-for": encrypt_for}
    of_all = {"--key": key, "--signers": signers}
    if run_id is not None and sign is None and signers is None:
        raise UsageError("--run-id is for --sign FILE, or with --merge for --signers FOLDER: give that, too")
    if merge:
        own = {f"--{name.removeprefix('data.').replace('_', '-')}": value for name, value in reading.items()}
        own |= {"--ignore": ignore, "--missing": missing, "--check": check, "--least-rows": least_rows}
        require_none("--merge", {**own, **site, "--statistics": statistics})
        merge_statistics(files, out, force, key_in(key), signers_of(signers, run_id))
        return
    if len(files) > 1:
        raise UsageError(f"{files[1]}: one table at a time; --merge makes one schema of the statistics of several")
    require_none("a command without --merge", of_all)
    data = files[0]
    if not statistics:
        require_none("a command without --statistics", site)
    settings = configure(None, {**reading, **field_options(reading, bool(reading["data.image_column"]))}, None).data
    if check is not None:
        require_none("--check", {"--statistics": statistics})
        drafting = {"--ignore": ignore, "--missing": missing, "--least-rows": least_rows, "--out": out}
        _hold_against(check, data, settings, drafting)
        return
    if not settings.label_column:
        raise UsageError("say which column has the classes: --label-column NAME")
    least = settings.least_rows if least_rows is None else least_rows
    ignored = words("ignore", ignore) if ignore else []
    empty = MISSING if missing is None else words("missing", missing)
    if statistics:
        if client is None or out is None:
            raise UsageError("statistics are a file of one site: say --client N, another at each site, and --out FILE")
        require_free(out, force, data)
        seal = seal_of(encrypt_for, sign, run_id)
        if settings.image_columns:
            raise UsageError("statistics are of tables: leave out --image-column, and add the images to the schema")
        options = SiteOptions(settings.label_column, client, least, ignored, empty, public or [], epsilon, sums)
        custody = custody_of_figures(limits, log, data, out, private=epsilon is not None)
        write_statistics(data, settings, options, out, custody, limits, seal)
        return
    if out:
        require_toml(out)
        require_free(out, force, data)
    drafted = _drafted(data, settings, dict.fromkeys(ignored, "--ignore names it"), least, empty)
    _tell(drafted, data, settings.label_column, out)


def _hold_against(check: Path, data: Path, settings: DataConfig, drafting: dict[str, Any]) -> None:
    """Hold data against the schema `check`; raises UsageError where options of `drafting` are given, too."""
    if idle := [option for option, value in drafting.items() if value]:
        raise UsageError(f"--check drafts nothing: leave out {', '.join(idle)}")
    swapped = data.suffix.lower() == SCHEMA and check.suffix.lower() != SCHEMA  # --check DATA FILE reads as well
    table, file = (check, data) if swapped else (data, check)
    _check(existing(table), existing(file), settings)


def _drafted(data: Path, settings: DataConfig, ignore: dict[str, str], least: int, missing: Sequence[str]) -> "Draft":
    from mosaic_fl.data.fields.draft import draft_fields
    from mosaic_fl.data.fields.reading import read_rows, require_columns
    from mosaic_fl.data.table.draft import draft
    from mosaic_fl.data.table.reading import read_frames
    from mosaic_fl.data.tables import tell_idle

    if not settings.image_columns:
        tell_idle(settings, str(data))
        return draft(read_frames([data], str(data)), settings.label_column, ignore=ignore, least=least, missing=missing)
    rows = read_rows([data], str(data), settings, missing)
    require_columns(rows, settings.image_columns)
    return draft_fields(rows, settings.label_column, settings, ignore=ignore, least=least, missing=missing).draft


def _tell(drafted: "Draft", data: Path, label: str, out: Path | None) -> None:
    from mosaic_fl.data.fields.rows import table_in
    from mosaic_fl.data.fields.schema_toml import schema_toml
    from mosaic_fl.data.names import listing
    from mosaic_fl.data.table.draft import tell
    from mosaic_fl.storage.files import write_atomic

    tell(drafted, str(data))
    text = schema_toml(drafted.schema, list(drafted.left_out), label)
    named = table_in(drafted.schema)
    columns = named[1].columns if named else ()
    counts = Counter(column.type for column in columns)
    types = f": {', '.join(f'{count} {kind}' for kind, count in counts.items())}" if columns else ""
    print(f"{drafted.schema.summary}{types}; read the schema, and change it, before you send it", file=sys.stderr)
    results({"file": out, "schema": drafted.schema.to_json(), "left_out": dict(drafted.left_out)})
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomic(out, text)
        print(f"Schema: {out}")
    if full := [column.name for column in columns if not column.missing]:
        names = listing(full, MOST)
        print(f"Never missing here: {names} (set missing = true where another site may lack them)", file=sys.stderr)


def _check(data: Path, file: Path, settings: DataConfig) -> None:
    from mosaic_fl.data.fields.differences import field_differences
    from mosaic_fl.data.fields.reading import read_rows
    from mosaic_fl.data.fields.rows import has_fields
    from mosaic_fl.data.fields.settings import labelled_by, reading_as_fields
    from mosaic_fl.data.fields.splits import missing_words
    from mosaic_fl.data.schema_file import read_schema
    from mosaic_fl.data.table.differences import differences
    from mosaic_fl.data.table.reading import read_frames

    schema = read_schema(file)
    reading = reading_as_fields(schema, labelled_by(settings, file), str(file))
    if has_fields(schema):
        rows = read_rows([data], str(data), reading.model_copy(update={"skip_broken": True}), missing_words(schema))
        count = len(rows)
        found = field_differences(rows, schema, reading)
    else:
        frame = read_frames([data], str(data))
        count = len(frame)
        found = differences(frame, schema, reading)
    for difference in found:
        print(f"{'cannot be used' if difference.fatal else 'differs'}: {difference.text}")
    fatal = sum(difference.fatal for difference in found)
    told = [{"fatal": difference.fatal, "text": difference.text} for difference in found]
    results({"data": data, "schema": file, "rows": count, "usable": not fatal, "differences": told})
    if fatal:
        raise UsageError(f"{data} cannot be used with {file}: {fatal} of {len(found)} differences are in the way")
    print(f"{data} can be used with {file}: {count} rows")
