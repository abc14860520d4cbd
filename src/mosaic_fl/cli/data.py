"""`mosaic data`: show how a data set would be spread over clients, or describe its schema."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.options import ConfigFile, Seed, Settings, configure
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free
from mosaic_fl.cli.reading import number_or_names, reads_images
from mosaic_fl.cli.tables import (
    ClientFields,
    Ignore,
    SplitColumn,
    TableSchema,
    WithTable,
    by_column,
    field_options,
    table_options,
)
from mosaic_fl.config import Config
from mosaic_fl.data.places import is_here, require_source
from mosaic_fl.errors import UsageError
from mosaic_fl.report.sheet import can_draw, require_drawing

PICTURE = Path("runs/split.png")  # without --out, each call overwrites it


@reads_images()
def data(
    file: ConfigFile = None,
    *,
    data: Annotated[str | None, typer.Option(help="digits, a path, or hub:NAME [digits]")] = None,
    reading: dict[str, Any],
    clients: Annotated[str | None, typer.Option(metavar="N", help="number of clients [5]")] = None,
    alpha: Annotated[str | None, typer.Option(metavar="X", help="smaller is more different [0.1]")] = None,
    split: Annotated[str | None, typer.Option(help="how data is spread [niid_bench]")] = None,
    split_column: SplitColumn = None,
    client_fields: ClientFields = None,
    with_table: WithTable = False,
    schema: TableSchema = None,
    ignore: Ignore = None,
    seed: Seed = None,
    settings: Settings = None,
    out: Annotated[
        Path | None, typer.Option(help="the picture [runs/split.png, drawn anew each time], or the schema")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="folder for one Parquet file a client")] = None,
    describe: Annotated[bool, typer.Option("--describe", help="the schema that all sites must agree on")] = False,
    classes: Annotated[
        str | None, typer.Option(metavar="N|NAME,…", help="with --describe: 10, or cat,dog,owl, of all sites")
    ] = None,
    classes_file: Annotated[Path | None, typer.Option(help="their names instead, one a line")] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite --out, and an earlier export")] = False,
) -> None:
    """Show which client would hold how many samples of which class; or with --describe, what a sample is."""
    options = {
        "data.name": data,
        "partition.clients": clients,
        "partition.alpha": alpha,
        "partition.split": by_column(split, split_column),
        **table_options(split_column, schema, ignore),
        "run.seed": seed,
        **reading,
        **field_options(reading, with_table, client_fields),
    }
    config = configure(file, options, settings)
    require_source(config.data.name)
    if describe:
        if split_options := [name for name, value in options.items() if value and name.startswith("partition.")]:
            raise UsageError(f"--describe splits nothing: leave out {', '.join(split_options)}")
        if export:
            raise UsageError(f"--describe exports nothing: leave out --export {export}")
        _describe(config, number_or_names(classes, classes_file), out, force)
        return
    if classes is not None or classes_file:
        option = f"--classes {classes}" if classes is not None else f"--classes-file {classes_file}"
        raise UsageError(f"{option} goes with --describe: a data set names its own")
    if export:
        from mosaic_fl.data import export as export_folder

        export_folder.require_free(export, Path(config.data.name), force=force)
    if out:
        require_free(out, force, Path(config.data.name))
        require_drawing()
    from mosaic_fl.data.partition import class_table as count_classes
    from mosaic_fl.data.partition import partition
    from mosaic_fl.encoders.reading import load
    from mosaic_fl.report.fields import field_lines
    from mosaic_fl.report.pictures import split_picture
    from mosaic_fl.report.tables import class_table

    splits = load(config)
    shards = partition(splits.train, config.partition, config.run.seed, splits.column)
    counts = count_classes(shards)
    names = splits.train.schema.classes
    Console().print(class_table(counts, names))
    for line in field_lines([shard.samples for shard in shards]):
        print(f"Fields of {line}")
    picture = out or PICTURE
    if can_draw():
        split_picture(counts, names, picture)
        print(f"Picture: {picture}")
    if export:
        export_folder.save_split(shards, splits.test, export)
    drawn = picture if can_draw() else None
    results(
        {"classes": names, "clients": counts.tolist(), "test": len(splits.test), "picture": drawn, "export": export}
    )
    if export:
        print(f"Data: {len(shards)} clients' files and test.parquet in {export}")


def _describe(config: Config, classes: int | list[str] | None, out: Path | None, force: bool) -> None:
    """Print the schema of a client's own data or of a data set, or write it to `out`. The class counts go to stderr."""
    name = config.data.name
    stderr = Console(stderr=True)
    if out:
        require_free(out, force, Path(name))
    from mosaic_fl.data.schema_file import schema_text
    from mosaic_fl.encoders.reading import load, load_own
    from mosaic_fl.report.tables import class_table
    from mosaic_fl.storage.files import write_atomic

    own = is_here(name)
    if classes is not None and not own:
        raise UsageError(f"--classes goes with a file or folder of one client; {name} names its own")
    samples = load_own(Path(name), config.data, classes) if own else load(config).train
    text = schema_text(samples.schema)
    stderr.print(class_table(samples.class_counts()[None], samples.schema.classes))
    print(f"{len(samples)} samples here; these figures are not in the schema", file=sys.stderr)
    counts = samples.class_counts().tolist()
    results({"file": out, "schema": samples.schema.to_json(), "samples": len(samples), "counts": counts})
    if out:
        write_atomic(out, text)
        print(f"Schema: {out}")
    else:
        sys.stdout.write(text)
