"""`mosaic run` after its configuration is complete: progress, the run itself, pictures and the table."""

import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from mosaic_fl.cli.forecasting import announce, show
from mosaic_fl.cli.limits import fit_run
from mosaic_fl.cli.output import OUTPUTS, run_results
from mosaic_fl.config import Config
from mosaic_fl.data.partition import class_table
from mosaic_fl.encoders.statement import encoder_lines
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.forecast.budget import RUN
from mosaic_fl.forecast.foresee import foresee_run
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.card import ONE_MODEL, SAMPLES_OR_PRIOR
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.report.benefit import benefit_lines
from mosaic_fl.report.fields import subset_lines
from mosaic_fl.report.heartbeat import waiting
from mosaic_fl.report.page.page import write_page
from mosaic_fl.report.pictures import accuracy_picture, samples_picture, split_picture
from mosaic_fl.report.progress import Display
from mosaic_fl.report.quality import quality_lines
from mosaic_fl.report.sheet import can_draw
from mosaic_fl.report.tables import accuracy_table, rows, seconds_line
from mosaic_fl.report.trust import trust_lines
from mosaic_fl.runs.attacks import attack_lines
from mosaic_fl.runs.audits import audit_lines
from mosaic_fl.runs.folder import claim
from mosaic_fl.runs.privacy import privacy_lines
from mosaic_fl.runs.result import final_result
from mosaic_fl.runs.runner import RunSetup, prepare, run
from mosaic_fl.server.pool import sheet
from mosaic_fl.storage.journal import round_name
from mosaic_fl.storage.stopwatch import Stopwatch
from mosaic_fl.tracking.following import following
from mosaic_fl.tracking.settings import settings_of

SAMPLES_PER_CLASS = 4  # generated samples of each client in a picture
# Rough relative cost of one step in each stage: only for the first guess of the progress display.
STAGES = {"train": 1.0, "generator": 1.5, "centralised": 1.0, "meta": 1.5, "pool": 100.0, "student": 1.2}


def simulate(
    config: Config,
    out: Path,
    overrides: Collection[str],
    *,
    resume: bool,
    force: bool,
    keep_stages: bool = False,
    dry_run: bool = False,
    minutes: float | None = None,
    track: Sequence[str] = (),
) -> None:
    """Prepare, run, draw and print; see `runs`.

    `overrides` names the settings that the user set by options; `minutes` is a limit of time, `track` names trackers.
    """
    console = Console(stderr=True)
    stopwatch = Stopwatch()
    with stopwatch.stage("load"), waiting(console, f"loading {config.data.name} and spreading it over the clients"):
        prepared = prepare(config)
    _advise(config, overrides)
    usual = prepared
    config, options = fit_run(prepared.config, minutes, out, lambda: foresee_run(usual), RUN, resume=resume)
    prepared = replace(prepared, config=config)
    sources = [Path(config.data.name)]
    claim(out, "run", prepared.inputs, config, sources, options, resume=resume, force=force, dry_run=dry_run)
    if dry_run:
        show(foresee_run(prepared))
        return
    with_pictures = can_draw()
    if final_result(out) is None:
        announce(lambda: foresee_run(prepared, first=True), resume=resume)
    with following(track, out, settings_of(config)) as tracked:
        with Display(_plan(prepared), console, clients=len(prepared.sites), stopwatch=stopwatch) as display:
            result = run(prepared, out, tracked.beside(display.hear), stopwatch, keep_stages=keep_stages)
        if with_pictures:
            _draw(prepared, out, result)
        write_page(out)
        tracked.finish()
    Console(file=sys.stdout).print(accuracy_table(result))
    print(*quality_lines(result), *subset_lines(result), *benefit_lines(result), sep="\n")
    for line in (
        *attack_lines(result),
        *trust_lines(result),
        *encoder_lines(result),
        *privacy_lines(result),
        *audit_lines(result),
    ):
        print(line)
    for line, count in Counter(result.get("generators", ())).items():
        print(f"Generators: {count} × {line}")
    print(seconds_line(result["seconds"]))
    run_results(out, result)
    present = [name for name in OUTPUTS if (out / name).exists()]
    names = ", ".join(f"{name}/" if (out / name).is_dir() else name for name in present)
    print(f"Results: {out}/{names}")


def _advise(config: Config, overrides: Collection[str]) -> None:
    """Note settings in `overrides` that have no effect."""
    if idle := [setting for name, setting in _without_effect(config).items() if name in overrides]:
        note(f"{METHODS[config.run.method].title} has no use for {', '.join(idle)}")


def _without_effect(config: Config) -> dict[str, str]:
    """The settings without an effect on the method, as "models.student = cnn:16", by name."""
    card = METHODS[config.run.method]
    own_model = card.reference or card.boosts or card.vectors or card.serves != ONE_MODEL
    student_effective = config.run.centralised or not own_model
    if card.equal_architectures:  # no effect if the clients have another architecture
        student_effective = config.models.student in (config.models.clients or [config.models.student])
    generator = "" if config.generator.family == "none" else config.generator.family
    prior = "" if config.distill.prior == "none" else config.distill.prior
    aggregate = "" if config.rounds.aggregate == "mean" else config.rounds.aggregate
    # name: (value, whether the method uses it)
    settings = {
        "models.student": (config.models.student, student_effective),
        "models.bundle": (config.models.bundle, card.serves == ONE_MODEL),
        "generator.family": (generator, bool(card.transfer) or card.vectors),
        "distill.prior": (prior, card.transfer == SAMPLES_OR_PRIOR),
        "rounds.warm_up": (config.rounds.warm_up, card.fuses or card.rounds or "rounds.warm_up" in card.defaults),
        "rounds.fine_tune": (config.rounds.fine_tune, card.fuses),
        "rounds.aggregate": (aggregate, not card.fuses or config.rounds.warm_up + config.rounds.fine_tune > 0),
        "distill.choose": (config.distill.choose is True, card.fuses),
    }
    return {
        name: f"{name} = {str(value).lower()}"
        for name, (value, effective) in settings.items()
        if value and not effective
    }


def _plan(prepared: RunSetup) -> list[tuple[str, float]]:
    """The stages of the run, each with a first guess of its cost."""
    from mosaic_fl.experts.training import steps_for

    config = prepared.config
    workers = 2 if prepared.config.run.workers != 1 else 1
    local = sum(steps_for(len(site.data), config.train) for site in prepared.sites) / workers
    before = config.rounds.warm_up
    after = config.rounds.fine_tune
    rounds = [(round_name(r), local) for r in range(before + after)]
    card = METHODS[config.run.method]
    if card.rounds:
        return rounds[:before] or [(round_name(0), local)]
    distils = not card.reference and card.serves == ONE_MODEL
    steps = {
        "train": local,
        "generator": len(prepared.sites) * config.generator.steps / workers if config.generator.family != "none" else 0,
        "meta": config.meta.steps if card.fuses and config.meta.kind != "none" else 0,
        "pool": int(distils),
        "student": config.distill.steps if distils else 0,
        "centralised": config.distill.steps if config.run.centralised else 0,
    }
    stages = [(stage, STAGES[stage] * count) for stage, count in steps.items() if count]
    if card.aggregates:  # rounds of an aggregator on the contributions: one or two steps each
        return [*stages, *((name, 1.0) for name, _ in rounds[:before] or [(round_name(0), local)])]
    return [*rounds[:before], *stages, *rounds[before:]] if card.fuses else stages


def _draw(prepared: RunSetup, out: Path, result: dict[str, object]) -> None:
    """Write the pictures of the split, the accuracies and, if there are generators, their samples."""
    pictures = out / "pictures"
    names = prepared.splits.train.schema.classes
    counts = class_table([site.data for site in prepared.sites])
    split_picture(counts, names, pictures / "split.png")
    accuracy_picture(rows(result), pictures / "accuracy.png")
    paths = sorted((out / "contributions").glob("*.contribution"))
    contributions = [Contribution.load(path) for path in paths]
    kinds = [kind.name for kind in prepared.splits.train.schema.fields.values()]
    if kinds == ["image"] and any(c.generator is not None for c in contributions):
        stream = Stream(prepared.config.run.seed, "pictures")
        sheets = [(f"client {c.client} · {c.architecture}", sheet(c, SAMPLES_PER_CLASS, stream)) for c in contributions]
        class_presence = torch.stack([c.class_counts for c in contributions]) > 0
        samples_picture(sheets, class_presence, names, pictures / "samples.png")
