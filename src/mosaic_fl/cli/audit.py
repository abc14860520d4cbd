"""`mosaic audit`: what a contribution tells of the samples behind it, measured at its site."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.files import Trust, trust_models
from mosaic_fl.cli.keys import KeyFile, key_in
from mosaic_fl.cli.options import ConfigFile, Device, Seed, Settings, configure
from mosaic_fl.cli.output import results
from mosaic_fl.cli.reading import reads_images
from mosaic_fl.data.places import existing
from mosaic_fl.storage.files import require_file
from mosaic_fl.storage.header import require_ours


@reads_images()
def audit(
    contribution: Annotated[Path, typer.Argument(metavar="CONTRIBUTION", help="what mosaic contribute wrote")],
    file: ConfigFile = None,
    *,
    data: Annotated[Path, typer.Option(help="the labelled data that it was made of")],
    reading: dict[str, Any],
    holdout: Annotated[
        Path | None, typer.Option(metavar="FILE", help="labelled data alike that it was not made of [held-back ones]")
    ] = None,
    key: KeyFile = None,
    trusted: Trust = None,
    seed: Seed = None,
    device: Device = None,
    settings: Settings = None,
) -> None:
    """At a client: attack a contribution, and say how well its samples are told from others.

    Give the seed and the settings that the contribution was made with: they say which samples were held back.
    """
    config = configure(file, {"run.method": "mosaic", "run.seed": seed, "run.device": device, **reading}, settings)
    require_file(contribution)
    existing(data)
    if holdout is not None:
        existing(holdout)
    require_ours(contribution)
    private_key = key_in(key)
    trust_models(trusted)
    from mosaic_fl.client.audited import audit_file
    from mosaic_fl.encoders.reading import load_as
    from mosaic_fl.engines.workers import one_thread
    from mosaic_fl.exchange.contribution import Contribution
    from mosaic_fl.numerics.devices import find_device
    from mosaic_fl.report.audit import audit_json, audit_lines
    from mosaic_fl.report.heartbeat import waiting

    console = Console(stderr=True)
    sent = Contribution.load(contribution, private_key)
    place = find_device(config.run.device)
    with waiting(console, f"reading {data}"):
        samples = load_as(data, sent.schema, config.data, str(contribution), place)
        others = None if holdout is None else load_as(holdout, sent.schema, config.data, str(contribution), place)
    with waiting(console, f"attacking {contribution}"), one_thread():
        found = audit_file(sent, samples, config, others)
    limit = config.audit.limit_for(int(sent.class_counts.sum()))
    results(audit_json(found, limit))
    members = found.worst.members if found.worst else 0
    strangers = found.worst.strangers if found.worst else 0
    print(f"{contribution}: {sent}")
    print(f"Up to {members:,} members against up to {strangers:,} strangers, of {found.basis}")
    print(*audit_lines(found, limit), sep="\n")
