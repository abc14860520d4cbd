"""`mosaic inspect`: what the file of a contribution or a global model holds, in words."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mosaic_fl.cli.files import Trust, trust_models
from mosaic_fl.cli.keys import KeyFile, key_in
from mosaic_fl.cli.options import configure
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free
from mosaic_fl.cli.reading import reads_images
from mosaic_fl.config import Config
from mosaic_fl.data.places import existing
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.model_file import model_file
from mosaic_fl.extras import require
from mosaic_fl.notes import note
from mosaic_fl.storage.header import require_ours

if TYPE_CHECKING:
    from mosaic_fl.exchange.contribution import Contribution

PRIVATE = "PRIVATE: real samples are in this picture. It must not leave the site"


@reads_images()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a contribution; or a global model, or a run's folder")],
    *,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write a PNG of what it draws beside the nearest of --data: private"),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="the site's own labelled data, for --pictures")] = None,
    reading: dict[str, Any],
    trusted: Trust = None,
    key: KeyFile = None,
) -> None:
    """What is in a contribution, how it is protected, and what it could reveal; or what is in a global model."""
    config = _reading(file, pictures, data, reading)
    require_ours(model_file(file))
    private_key = key_in(key)
    trust_models(trusted)
    from mosaic_fl.report.inspection import inspection_lines, model_lines
    from mosaic_fl.runs.inspection import inspect as inspect_file
    from mosaic_fl.runs.model_inspection import ModelInspection

    inspection = inspect_file(file, private_key)
    if isinstance(inspection, ModelInspection):
        if pictures is not None:
            raise UsageError(f"{inspection.file} is a global model, which draws nothing: leave out --pictures")
        lines = model_lines(inspection)
    else:
        if pictures is not None and data is not None:
            _draw(inspection.contribution, file, data, config, pictures)
        lines = inspection_lines(inspection)
    results(inspection.to_json())
    print(*lines, sep="\n")


def _reading(file: Path, pictures: Path | None, data: Path | None, reading: dict[str, Any]) -> Config:
    """The settings by which `data` are read; raises UsageError, before any work, for pictures that cannot be."""
    if pictures is not None and data is None:
        raise UsageError("--pictures needs --data: the site's own samples, beside which they are shown")
    if data is not None and pictures is None:
        raise UsageError("--data is for --pictures FILE: without these it is not read")
    if data is None and (idle := [name for name, value in reading.items() if value]):
        note(f"no image is read without --pictures: no use for {', '.join(idle)}")
    if pictures is not None and data is not None:
        require("--pictures", "matplotlib")
        existing(data)
        require_free(pictures, False, file, data)
    return configure(None, reading, None)


def _draw(contribution: "Contribution", file: Path, data: Path, config: Config, path: Path) -> None:
    """Write the pictures, which nobody but their owner may read."""
    from mosaic_fl.encoders.reading import load_as
    from mosaic_fl.engines.workers import one_thread
    from mosaic_fl.numerics.devices import find_device
    from mosaic_fl.report.pictures import samples_picture
    from mosaic_fl.runs.neighbours import neighbours

    samples = load_as(data, contribution.schema, config.data, str(file), find_device(config.run.device))
    with one_thread():
        found = neighbours(contribution, samples)
    rows = [
        ("closest, drawn", found.closest[0]), ("nearest real ones", found.closest[1]),
        ("others, drawn", found.usual[0]), ("their nearest real", found.usual[1]),
    ]  # fmt: skip
    title = f"{found.drawn:,} samples of client {contribution.client}'s generator, and its real ones"
    present = found.present.expand(len(rows), -1)
    samples_picture(rows, present, contribution.schema.classes, path, title, PRIVATE)
    path.chmod(0o600)
    note(f"{path}: {PRIVATE}")
