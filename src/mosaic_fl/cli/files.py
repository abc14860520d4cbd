"""`mosaic contribute` and `mosaic distill`: the method for sites that can exchange files only."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.custody import LimitsFile, LogFile, budget_line, check, custody_of, release
from mosaic_fl.cli.forecasting import DryRun, Minutes, announce, positive, show
from mosaic_fl.cli.keys import EncryptFor, KeyFile, RunId, Sign, SignersFolder, key_in, seal_of, signers_of
from mosaic_fl.cli.limits import fit, fit_run
from mosaic_fl.cli.options import (
    Bundle,
    ConfigFile,
    Delta,
    Device,
    Epsilon,
    Force,
    Keep,
    KeepStages,
    Moments,
    Resume,
    Seed,
    Settings,
    Strict,
    configure,
    parse_settings,
    trust_options,
)
from mosaic_fl.cli.output import results, run_results
from mosaic_fl.cli.places import regional, regional_seal, require_free
from mosaic_fl.cli.reading import number_or_names, reads_images, tell_idle
from mosaic_fl.config import ReadingConfig
from mosaic_fl.config.checks import check_one_exchange
from mosaic_fl.config.model_names import is_onnx_file, require_form
from mosaic_fl.config.privacy_checks import check_private
from mosaic_fl.data.places import existing
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.audited import require_reason
from mosaic_fl.notes import note
from mosaic_fl.runs.folder import claim, require_open
from mosaic_fl.runs.result import final_result
from mosaic_fl.storage.files import require_file, write_atomic
from mosaic_fl.storage.header import require_ours

# The settings of a simulation's data that also apply to the data of one site.
SITE_SETTINGS = ("data.validation", *(f"data.{name}" for name in ReadingConfig.model_fields))
ANSWERS_HERE = "The model stays here: the server will send a query, and mosaic answer answers it"
Trust = Annotated[
    list[str] | None, typer.Option("--trust", metavar="NAME", help="a model of yours, MODULE:FACTORY, or timm")
]
Answers = Annotated[
    list[Path] | None, typer.Option("--answers", metavar="FILE", help="of a black box, to a query: mosaic answer")
]


@reads_images()
def contribute(
    file: ConfigFile = None,
    *,
    data: Annotated[Path, typer.Option(help="this client's labelled data")],
    reading: dict[str, Any],
    model: Annotated[str, typer.Option(help="as mlp:64, random_forest, FILE.onnx; answers: it stays here")],
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
    """At a client: train on private data and write the one file that leaves the site."""
    options = {"run.method": "mosaic", "run.seed": seed, "run.device": device, "generator.family": generator}
    options |= reading | {"moments.encoder": moments, "privacy.epsilon": epsilon, "privacy.delta": delta}
    config = configure(file, options, settings)
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


@reads_images()
def distill(
    contributions: Annotated[list[Path], typer.Argument(metavar="FILE...", help="the clients' contributions")],
    *,
    out: Annotated[Path, typer.Option(help="folder of the result")] = Path("global"),
    config_file: Annotated[Path | None, typer.Option("--config", help="settings as a TOML file")] = None,
    student: Annotated[str | None, typer.Option(help="the global model's architecture")] = None,
    bundle: Bundle = None,
    test: Annotated[Path | None, typer.Option(help="labelled data for a final accuracy")] = None,
    reading: dict[str, Any],
    as_contribution: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write a contribution that stands for all of these")
    ] = None,
    client: Annotated[int | None, typer.Option(min=0, max=9999, help="its number in the larger federation")] = None,
    trusted: Trust = None,
    key: KeyFile = None,
    signers: SignersFolder = None,
    run_id: RunId = None,
    sign: Sign = None,
    encrypt_for: EncryptFor = None,
    seed: Seed = None,
    device: Device = None,
    keep: Keep = None,
    strict: Strict = None,
    settings: Settings = None,
    minutes: Minutes = None,
    keep_stages: KeepStages = False,
    answers: Answers = None,
    resume: Resume = False,
    force: Force = False,
    dry_run: DryRun = False,
) -> None:
    """At the server: contributions in, one global model out; no data is seen."""
    options = {"run.method": "mosaic", "run.seed": seed, "run.device": device, "models.student": student}
    options |= reading | {"models.bundle": bundle} | trust_options(keep, strict)
    config = configure(config_file, options, settings)
    limit = positive(minutes)
    check_one_exchange(config)
    for path in (*contributions, *(answers or [])):
        require_file(path)
    if test:
        existing(test)
    tell_idle(reading, test)
    region = regional(as_contribution, client, contributions, again=force or resume, dry_run=dry_run)
    private_key = key_in(key)
    seal = regional_seal(region, encrypt_for, sign, run_id)
    known = signers_of(signers, run_id)
    if run_id is not None and known is None and seal.signer is None:
        raise UsageError("--run-id is for --signers FOLDER, or --sign FILE: give one of them, too")
    require_open(out, resume=resume, force=force)
    trust_models(trusted)
    for path in contributions:
        require_ours(path)
    from mosaic_fl.encoders.statement import encoder_lines
    from mosaic_fl.forecast.budget import DISTILLATION
    from mosaic_fl.forecast.foresee import foresee_distillation
    from mosaic_fl.report.benefit import benefit_lines
    from mosaic_fl.report.fields import subset_lines
    from mosaic_fl.report.heartbeat import waiting
    from mosaic_fl.report.page.page import write_page
    from mosaic_fl.report.progress import Display
    from mosaic_fl.report.quality import quality_lines
    from mosaic_fl.report.tables import percent, seconds_line
    from mosaic_fl.report.trust import trust_lines
    from mosaic_fl.runs.audits import audit_lines
    from mosaic_fl.runs.file_exchange import prepare_distillation, run_distillation, write_regional
    from mosaic_fl.runs.privacy import privacy_lines
    from mosaic_fl.storage.stopwatch import Stopwatch

    stages = [("meta", 1.0), ("pool", 0.5), ("student", 2.0)]
    console = Console(stderr=True)
    stopwatch = Stopwatch()
    count = f"{len(contributions)} contribution{'s' * (len(contributions) > 1)}"
    with stopwatch.stage("load"), waiting(console, f"reading {count}"):
        usual = prepare_distillation(contributions, config, test, private_key, known)
    foresee = partial(foresee_distillation, usual)
    settled, limits = fit_run(usual.config, limit, out, foresee, DISTILLATION, resume=resume)
    prepared = replace(usual, config=settled)
    ways = {"resume": resume, "force": force, "dry_run": dry_run, "shelve": keep_stages}  # for the same files later
    claim(out, "distill", usual.inputs, settled, [*usual.sources, *(answers or [])], limits, **ways)
    if dry_run:
        show(foresee_distillation(prepared))
        return
    if final_result(out) is None:
        announce(lambda: foresee_distillation(prepared, first=True), resume=resume)
    with Display(stages, console, stopwatch=stopwatch) as display:
        display.say(f"distilling {count}")
        result = run_distillation(
            prepared, out, display.hear, keep_stages=keep_stages, stopwatch=stopwatch, answers=answers or []
        )
    if result["accuracy"] is not None:
        print(f"accuracy on {test}: {percent(result['accuracy'])} (teacher {percent(result['teacher_accuracy'])})")
        print(*quality_lines(result), *subset_lines(result), *benefit_lines(result), sep="\n")
    for line in (*trust_lines(result), *encoder_lines(result), *privacy_lines(result), *audit_lines(result)):
        print(line)
    print(seconds_line(result["seconds"]))
    write_page(out)
    run_results(out, result)
    print(f"Results: {out}/report.html, global_model.safetensors, result.json")
    if region is not None:
        size, counted = write_regional(prepared, out, *region, seal)
        of_all = "" if counted == len(contributions) else f"{counted} of "
        print(f"{region[0]}: {size:,} bytes · client {region[1]} stands for {of_all}{count}{seal.words}")


def trust_models(trusted: list[str] | None) -> None:
    """Register the models and libraries that --trust names."""
    if trusted:
        from mosaic_fl.models import trust_own

        for spec in trusted:
            trust_own(spec)
