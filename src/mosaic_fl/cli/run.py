"""`mosaic run`: its options and first checks; `simulate` does the rest. `mosaic config`: print all settings."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.forecasting import DryRun, Minutes, positive
from mosaic_fl.cli.options import (
    Aggregate,
    Attack,
    ConfigFile,
    Device,
    Epsilon,
    Force,
    Moments,
    Preset,
    Resume,
    Seed,
    Settings,
    configure,
    names,
    parse_settings,
    trust_options,
)
from mosaic_fl.cli.output import results
from mosaic_fl.cli.reading import reads_images
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
from mosaic_fl.cli.tracking import Track, trackers
from mosaic_fl.config.toml import to_toml
from mosaic_fl.data.places import require_source
from mosaic_fl.engines.flower.extra import require_simulation
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.report.heartbeat import waiting
from mosaic_fl.runs.folder import require_open


@reads_images()
def run(
    file: ConfigFile = None,
    *,
    preset: Preset = None,
    method: Annotated[str | None, typer.Option(help="mosaic, fedavg, …: see mosaic methods")] = None,
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
    models: Annotated[str | None, typer.Option(metavar="NAME,…", help="in turn, as cnn:16,random_forest")] = None,
    student: Annotated[str | None, typer.Option(help="the global model's architecture")] = None,
    bundle: Annotated[
        bool | None, typer.Option("--bundle", hidden=True, help="the model's file holds its encoder")
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(help="auto, cvae, flow, cart, moments, …, none"),
    ] = None,
    moments: Moments = None,
    prior: Annotated[str | None, typer.Option(help="photos, procedural, none, a folder [auto]")] = None,
    rounds: Annotated[
        str | None, typer.Option(metavar="N", help="before, of others all; --finetune-rounds N: after")
    ] = None,
    aggregate: Aggregate = None,
    finetune_rounds: Annotated[
        str | None, typer.Option(hidden=True, metavar="N", help="rounds of averaging after the exchange [0]")
    ] = None,
    epsilon: Epsilon = None,
    attack: Attack = None,
    seed: Seed = None,
    device: Device = None,
    workers: Annotated[str | None, typer.Option(metavar="N", help="processes, or auto: one a core")] = None,
    engine: Annotated[str | None, typer.Option(help="local, or flower: its simulation on Ray [local]")] = None,
    centralised: Annotated[bool | None, typer.Option("--centralised", help="train the ceiling too")] = None,
    choose: Annotated[
        bool | None, typer.Option("--choose", hidden=True, help="clients always choose how the student is taught")
    ] = None,
    keep: Annotated[
        list[int] | None, typer.Option("--keep", hidden=True, help="counts in full, whatever others say")
    ] = None,
    strict: Annotated[
        bool | None, typer.Option("--strict", hidden=True, help="leave out who would count in part")
    ] = None,
    settings: Settings = None,
    minutes: Minutes = None,
    out: Annotated[Path, typer.Option(help="folder of the run")] = Path("runs/latest"),
    keep_stages: Annotated[bool, typer.Option("--keep-stages", hidden=True, help="leave stages/ there")] = False,
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
    track: Track = None,
) -> None:
    """Simulate a federation: private data at clients to one global model."""
    options = {
        "run.method": method,
        "data.name": data,
        "partition.clients": clients,
        "partition.alpha": alpha,
        "partition.split": by_column(split, split_column),
        **table_options(split_column, schema, ignore),
        "models.clients": names(models),
        "models.student": student,
        "models.bundle": bundle,
        "generator.family": generator,
        "moments.encoder": moments,
        "distill.prior": prior,
        "distill.choose": choose,
        "rounds.warm_up": rounds,
        "rounds.fine_tune": finetune_rounds,
        "rounds.aggregate": aggregate,
        "privacy.epsilon": epsilon,
        "run.attack": attack,
        "run.seed": seed,
        "run.device": device,
        "run.engine": engine,
        "run.workers": 0 if workers == "auto" else workers,
        "run.centralised": centralised,
        **trust_options(keep, strict),
        **reading,
        **field_options(reading, with_table, client_fields),
    }
    config = configure(file, options, settings, preset)
    overrides = {name for name, value in options.items() if value is not None} | parse_settings(settings).keys()
    METHODS[config.run.method].check_settings(config)
    limit = positive(minutes)
    if limit is not None and not METHODS[config.run.method].fuses:
        raise UsageError(f"--minutes {minutes} is for mosaic; for {config.run.method} set train.max_steps or --rounds")
    require_source(config.data.name)
    tracking = trackers(track)
    if config.run.engine == "flower":
        require_simulation()
    require_open(out, resume=resume, force=force)
    with waiting(Console(stderr=True), "starting"):  # imports torch, so the checks of names come before
        from mosaic_fl.cli.simulate import simulate

    ways = {"resume": resume, "force": force, "keep_stages": keep_stages, "dry_run": dry_run}
    simulate(config, out, overrides, **ways, minutes=limit, track=tracking)


def config(
    file: ConfigFile = None,
    preset: Preset = None,
    method: Annotated[str | None, typer.Option(help="with the settings of that method's paper")] = None,
    settings: Settings = None,
) -> None:
    """Print all settings as a commented TOML file; a comment marks what differs from the default."""
    configuration = configure(file, {"run.method": method}, settings, preset)
    results(configuration.model_dump(mode="json"))
    print(to_toml(configuration), end="")
