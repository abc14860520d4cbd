"""`mosaic distill`: contributions as files in, one global model out."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mosaic_fl.cli.forecasting import DryRun, Minutes, announce, positive, show
from mosaic_fl.cli.keys import EncryptFor, KeyFile, RunId, Sign, SignersFolder, key_in, signers_of
from mosaic_fl.cli.limits import fit_run
from mosaic_fl.cli.options import (
    Bundle,
    Device,
    Force,
    Keep,
    KeepStages,
    Resume,
    Seed,
    Settings,
    Strict,
    configure,
    trust_options,
)
from mosaic_fl.cli.output import run_results
from mosaic_fl.cli.places import regional, regional_seal
from mosaic_fl.cli.reading import reads_images, tell_idle
from mosaic_fl.cli.tracking import Track, trackers
from mosaic_fl.config.checks import check_one_exchange
from mosaic_fl.data.places import existing
from mosaic_fl.errors import UsageError
from mosaic_fl.runs.folder import claim, require_open
from mosaic_fl.runs.result import final_result
from mosaic_fl.storage.files import require_file
from mosaic_fl.storage.header import require_ours

Trust = Annotated[
    list[str] | None, typer.Option("--trust", metavar="NAME", help="a model of yours, MODULE:FACTORY, or timm")
]
Answers = Annotated[
    list[Path] | None, typer.Option("--answers", metavar="FILE", help="of a black box, to a query: mosaic answer")
]


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
    track: Track = None,
) -> None:
    """At the server: contributions in, one global model out; no data is seen."""
    options = {"run.method": "mosaic", "run.seed": seed, "run.device": device, "models.student": student}
    options |= reading | {"models.bundle": bundle} | trust_options(keep, strict)
    config = configure(config_file, options, settings)
    limit = positive(minutes)
    check_one_exchange(config)
    tracking = trackers(track)
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
    from mosaic_fl.tracking.following import following
    from mosaic_fl.tracking.settings import settings_of

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
    with following(tracking, out, settings_of(settled)) as tracked:
        with Display(stages, console, stopwatch=stopwatch) as display:
            display.say(f"distilling {count}")
            hear = tracked.beside(display.hear)
            result = run_distillation(
                prepared, out, hear, keep_stages=keep_stages, stopwatch=stopwatch, answers=answers or []
            )
        write_page(out)
        tracked.finish()
    if result["accuracy"] is not None:
        print(f"accuracy on {test}: {percent(result['accuracy'])} (teacher {percent(result['teacher_accuracy'])})")
        print(*quality_lines(result), *subset_lines(result), *benefit_lines(result), sep="\n")
    for line in (*trust_lines(result), *encoder_lines(result), *privacy_lines(result), *audit_lines(result)):
        print(line)
    print(seconds_line(result["seconds"]))
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
