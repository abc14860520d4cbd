"""`mosaic data`: look at a data set and how it would be spread over clients."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.files import require_free
from mosaic_fl.cli.options import ConfigFile, Seed, Settings, configure
from mosaic_fl.cli.reading import reads_images

PICTURE = Path("runs/split.png")  # a look is no result: without --out the last one is drawn over


@reads_images()
def data(
    file: ConfigFile = None,
    *,
    data: Annotated[str | None, typer.Option(help="digits, a path, or hub:NAME [digits]")] = None,
    reading: dict[str, Any],
    clients: Annotated[str | None, typer.Option(metavar="N", help="number of clients [5]")] = None,
    alpha: Annotated[str | None, typer.Option(metavar="X", help="smaller is more different [0.1]")] = None,
    split: Annotated[str | None, typer.Option(help="how data is spread [niid_bench]")] = None,
    seed: Seed = None,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="the picture [runs/split.png, drawn anew each time]")] = None,
    export: Annotated[Path | None, typer.Option(help="folder for one Parquet file a client")] = None,
    force: Annotated[bool, typer.Option("--force", help="overwrite --out, and an earlier export")] = False,
) -> None:
    """Show which client would hold how many samples of which class."""
    options = {
        "data.name": data,
        "partition.clients": clients,
        "partition.alpha": alpha,
        "partition.split": split,
        "run.seed": seed,
        **reading,
    }
    config = configure(file, options, settings)
    if export:
        from mosaic_fl.data import export as export_folder

        export_folder.require_free(export, Path(config.data.name), force=force)
    if out:
        require_free(out, force, Path(config.data.name))
    from mosaic_fl.data.partition import class_table as count
    from mosaic_fl.data.partition import partition
    from mosaic_fl.data.sources import load
    from mosaic_fl.report.pictures import split_picture
    from mosaic_fl.report.tables import class_table

    splits = load(config.data, config.run.seed)
    shards = partition(splits.train, config.partition, config.run.seed)
    counts, names = count(shards), splits.train.schema.classes
    Console().print(class_table(counts, names))
    picture = out or PICTURE
    split_picture(counts, names, picture)
    print(f"Picture: {picture}")
    if export:
        export_folder.save_split(shards, splits.test, export)
        print(f"Data: {len(shards)} clients' files and test.parquet in {export}")
