"""`mosaic contribute`: what one site sends, as a file."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.custody import LimitsFile, LogFile, budget_line, check, custody_of, release
from mosaic_fl.cli.forecasting import DryRun, Minutes, announce, positive, show
from mosaic_fl.cli.keys import EncryptFor, RunId, Sign, seal_of
from mosaic_fl.cli.limits import fit
from mosaic_fl.cli.options import (
    ConfigFile,
    Delta,
    Device,
    Epsilon,
    Force,
    Moments,
    Seed,
    Settings,
    configure,
    parse_settings,
)
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free
from mosaic_fl.cli.reading import number_or_names, reads_images
from mosaic_fl.config import Config, ReadingConfig
from mosaic_fl.config.model_names import is_onnx_file, require_form
from mosaic_fl.config.privacy_checks import check_private
from mosaic_fl.data.places import existing
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.audited import require_reason
from mosaic_fl.notes import note
from mosaic_fl.storage.files import write_atomic

# The settings of a simulation's data that also apply to the data of one site.
SITE_SETTINGS = ("data.validation", *(f"data.{name}" for name in ReadingConfig.model_fields))
ANSWERS_HERE = "The model stays here: the server will send a query, and mosaic answer answers it"
UNSAID = "Without both, class moments with noise are all that leaves"


@reads_images()
def contribute(
    file: ConfigFile = None,
    *,
    data: Annotated[Path, typer.Option(help="this client's labelled data")],
    reading: dict[str, Any],
    model: Annotated[
        str | None, typer.Option(help="as mlp:64, random_forest, FILE.onnx, answers; unsaid: none, but noisy moments")
    ] = None,
    out: Annotated[Path, typer.Option(help="the file to write")],
    client: Annotated[int, typer.Option(min=0, max=9999, help="this client's number, another at each site")],
    classes: Annotated[str | None, typer.Option(metavar="N|NAME,…", help="of all sites: 10, or cat,dog,owl")] = None,
    classes_file: Annotated[Path | None, typer.Option(help="their names instead, one a line")] = None,
    schema: Annotated[
        Path | None, typer.Option(metavar="FILE", help="what all sites agreed on: mosaic schema, or data --describe")
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(help="auto, cvae, flow, cart, moments, …, none"),
    ] = None,
    moments: Moments = None,
    epsilon: Epsilon = None,
    delta: Delta = None,
    sign: Sign = None,
    run_id: RunId = None,
    encrypt_for: EncryptFor = None,
    accept_risk: Annotated[
        str | None, typer.Option(metavar="REASON", help="write what the audit's gate refuses; the server is told why")
    ] = None,
    seed: Seed = None,
    device: Device = None,
    settings: Settings = None,
    minutes: Minutes = None,
    limits: LimitsFile = None,
    log: LogFile = None,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """At a client: write the one file that leaves the site, of a trained model and generator, or of noisy moments."""
    options = {"run.method": "mosaic", "run.seed": seed, "run.device": device, "generator.family": generator}
    options |= reading | {"moments.encoder": moments, "privacy.epsilon": epsilon, "privacy.delta": delta}
    if model is None and (generator is not None or moments is not None):
        raise UsageError(f"--generator and --moments go with a model: name --model, too (none: no model). {UNSAID}")
    config = configure(file, options, settings, None if file or model else "private")
    model = model or _only_model(config, file)
    limit = positive(minutes)
    require_form(model)
    check_private(config, [model])
    reason = "" if accept_risk is None else require_reason(accept_risk)
    require_free(out, force, data, *([Path(model)] if is_onnx_file(model) else []), dry_run=dry_run)
    seal = seal_of(encrypt_for, sign, run_id)
    if run_id is not None and sign is None:
        raise UsageError("--run-id is for --sign FILE: give that, too")
    federation = number_or_names(classes, classes_file)
    existing(data)
    custody = custody_of(limits, log, data, out, config, dry_run=dry_run)
    config = custody.with_gate(config)
    simulated = [name for name in parse_settings(settings) if name.startswith(("data.", "partition."))]
    if idle := [name for name in simulated if name not in SITE_SETTINGS]:
        note(f"contribute reads all of --data: it has no use for {', '.join(idle)}")
    from mosaic_fl.client.audit_gate import pass_gate, trainer
    from mosaic_fl.client.contribute import Site, common_start
    from mosaic_fl.client.contribute import contribute as make_contribution
    from mosaic_fl.client.private_plan import check_plan
    from mosaic_fl.encoders.reading import load_own
    from mosaic_fl.engines.workers import one_thread
    from mosaic_fl.experts.reading import check_fields
    from mosaic_fl.forecast.budget import CONTRIBUTION
    from mosaic_fl.forecast.foresee import foresee_contribution
    from mosaic_fl.models import trust
    from mosaic_fl.numerics.devices import find_device
    from mosaic_fl.report.benefit import own_figure
    from mosaic_fl.report.heartbeat import waiting
    from mosaic_fl.report.progress import Display
    from mosaic_fl.runs.privacy import note_weak_signal, private_architecture
    from mosaic_fl.storage.stopwatch import CLIENTS, Stopwatch
    from mosaic_fl.training.monitor import Recorder

    console = Console(stderr=True)
    stopwatch = Stopwatch()
    with waiting(console, f"reading {data}"):
        place = find_device(config.run.device)
        samples = load_own(data, config.data, federation, schema, place)
    spec = private_architecture(trust(model), config)
    check_fields(spec, samples.schema, samples.samples.fields)
    site = Site(client, samples, spec)
    if config.privacy.epsilon:
        check_plan(samples.schema, spec, config)
        note_weak_signal(site, config)
    if not dry_run:
        check(custody, site, config, limits)
    if limit is not None:
        usual = config
        config = fit(usual, limit, lambda: foresee_contribution(site, usual, place), CONTRIBUTION)
    if dry_run:
        show(foresee_contribution(site, config, place))
        return
    announce(lambda: foresee_contribution(site, config, place, first=True))
    with Display([("train", 1.0), ("generator", 1.5)], console, stopwatch=stopwatch) as display, one_thread():

        def listen(stage: str, client: int, step: int, total: int) -> None:
            stopwatch.hear(stage, client, step, total)
            display.hear(stage, client, step, total)

        start = common_start(config, spec, samples.schema)
        recorder = partial(Recorder, client=client, listen=listen)
        with stopwatch.stage(CLIENTS):
            contribution = make_contribution(site, config, place, recorder, start)
        display.hear(CLIENTS, -1, 1, 1)
    with waiting(console, "attacking the contribution"), one_thread():
        contribution, found = pass_gate(site, contribution, config, trainer(place), "warn", reason)
    content = seal.close(contribution.to_bytes(), client)
    release(custody, site, contribution, content, limits)
    write_atomic(out, content)
    results(
        {"file": out, "bytes": len(content), "client": client, "model": spec, "samples": len(samples)}
        | {"generator": contribution.generator_spec.family if contribution.generator_spec else None}
        | {"validation": contribution.validation, "audit": contribution.audit and contribution.audit.to_json()}
        | {"privacy": contribution.privacy and contribution.privacy.to_json()}
    )
    size = f"{len(content):,} bytes"
    private = f"{len(samples)} sample{'s stay' if len(samples) != 1 else ' stays'} here"
    print(f"{out}: {size} · model {spec} · generator {contribution.generator_line} · {private}{seal.words}")
    if contribution.privacy is not None:
        from mosaic_fl.runs.privacy import site_line

        print(site_line(site, config), budget_line(custody, site), sep="\n")
        return
    print(ANSWERS_HERE if contribution.is_black_box else own_figure(spec, contribution.validation))
    if found is not None:
        print(f"Audit: the contribution {found.summary} (mosaic audit says more, docs/audit.md)")


def _only_model(config: Config, file: Path | None) -> str:
    """The one model of the settings; raises UsageError where a file names none, or several."""
    if len(models := config.models.clients) != 1:
        raise UsageError(f"{file} names {len(models) or 'no'} models for clients: name this client's, --model NAME")
    return models[0]
