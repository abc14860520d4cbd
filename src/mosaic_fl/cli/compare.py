"""`mosaic compare`: run several methods in the same settings and write tables of their results."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from mosaic_fl.cli.forecasting import DryRun, Minutes, announce, positive, show
from mosaic_fl.cli.limits import fit_grid
from mosaic_fl.cli.options import Attack, Force, Preset, Resume, Settings, names, parse_settings, require_words, words
from mosaic_fl.cli.output import results as tell
from mosaic_fl.cli.reading import reads_images
from mosaic_fl.cli.tracking import Track, trackers
from mosaic_fl.data.places import require_source
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.report.heartbeat import Heartbeat, clock, waiting
from mosaic_fl.runs.folder import claim, require_open

# The grid of --full, for a GPU: the full data set, more clients, the network of the paper.
FULL = {
    "data": "hub:uoft-cs/cifar10",
    "clients": "5,10,20",
    "alpha": "0.01,0.05,0.1,0.5",
    "rounds": "1,20",
    "models": "resnet18,resnet8,resnet20,cnn:32:3,cnn:64:3",
    "student": "resnet18",
}
USUAL = {"data": "digits", "clients": "5", "alpha": "0.1", "rounds": "1"}
PICTURE_SHARE = 0.02  # of the run time at most; the tables are written after every cell

Value = TypeVar("Value", int, float)


@reads_images()
def compare(
    *,
    methods: Annotated[str, typer.Option(metavar="NAME,…", help="as mosaic,fedavg; all: see mosaic methods")] = "all",
    data: Annotated[str | None, typer.Option(help="digits, a path, or hub:NAME [digits]")] = None,
    reading: dict[str, Any],
    clients: Annotated[str | None, typer.Option(metavar="N,…", help="numbers of clients [5]")] = None,
    alpha: Annotated[str | None, typer.Option(metavar="X,…", help="smaller is more different [0.1]")] = None,
    architectures: Annotated[str, typer.Option(metavar="NAME,…", help="equal, mixed, or both")] = "equal,mixed",
    rounds: Annotated[str | None, typer.Option(metavar="N,…", help="rounds [1]")] = None,
    metric: Annotated[
        str, typer.Option(help="order by accuracy, auroc or balanced_accuracy; auto: auroc of rows of two classes")
    ] = "auto",
    seeds: Annotated[str, typer.Option(metavar="N,…", help="one run each")] = "0,1,2",
    models: Annotated[str | None, typer.Option(metavar="NAME,…", help="in turn, where mixed: cnn:16,mlp:64")] = None,
    student: Annotated[str | None, typer.Option(help="global model; every client's where equal")] = None,
    attack: Attack = None,
    preset: Preset = None,
    settings: Settings = None,
    workers: Annotated[str | None, typer.Option(metavar="N", help="processes, or auto: one a core")] = None,
    jobs: Annotated[str, typer.Option(metavar="N", help="settings at once, or auto: one a core")] = "1",
    full: Annotated[bool, typer.Option("--full", help="the grid that a GPU would run; others override")] = False,
    minutes: Minutes = None,
    list_only: Annotated[bool, typer.Option("--list", help="print the cells and end")] = False,
    out: Annotated[Path, typer.Option(help="folder of the comparison")] = Path("runs/compare"),
    resume: Resume = False,
    force: Force = False,
    track: Track = None,
    dry_run: DryRun = False,
) -> None:
    """Compare methods: the same clients, data, models, budgets and seeds."""
    options = {
        "data": data, "clients": clients, "alpha": alpha, "rounds": rounds, "models": models, "student": student
    }  # fmt: skip
    texts = USUAL | (FULL if full else {}) | {name: value for name, value in options.items() if value is not None}
    from mosaic_fl.comparison.grid import Grid, all_methods

    number = positive(minutes)
    tracking = trackers(track)
    job_count = 0 if jobs == "auto" else count("jobs", jobs)
    grid = Grid(
        methods=all_methods() if methods == "all" else words("methods", methods),
        clients=numbers("clients", texts["clients"], int),
        alphas=numbers("alpha", texts["alpha"], float),
        architectures=words("architectures", architectures),
        rounds=numbers("rounds", texts["rounds"], int),
        seeds=numbers("seeds", seeds, int),
        preset=preset or "default",
        metric=metric,
        values=_values(texts, workers or ("1" if job_count != 1 else None))
        | {name: value for name, value in reading.items() if value is not None}
        | ({} if attack is None else {"run.attack": attack})
        | parse_settings(settings),
    )
    base = grid.base()
    require_words(base)
    require_source(base.data.name)
    if not list_only:
        require_open(out, resume=resume, force=force)
    with waiting(Console(stderr=True), f"loading {base.data.name} and checking {len(grid.cells())} cells"):
        from mosaic_fl.comparison.plan import make_plan  # imports torch

        plan = make_plan(grid)
    if list_only:
        _list(plan)
        return
    from mosaic_fl.engines.local import worker_count
    from mosaic_fl.forecast.grid import foresee_grid
    from mosaic_fl.tracking.cells import following_cells

    parallel_jobs = job_count or worker_count(0, len(grid.settings()), plan.device)
    plan, limits = fit_grid(plan, number, out, parallel_jobs, resume=resume)
    config = plan.grid.base().with_values({"models.clients": list(plan.models), "models.student": plan.student})
    sources = [Path(config.data.name)]
    limits |= grid.options()
    claim(out, "compare", plan.inputs, config, sources, limits, resume=resume, force=force, dry_run=dry_run)
    if dry_run:
        show(foresee_grid(plan, parallel_jobs))
        return
    announce(lambda: foresee_grid(plan, parallel_jobs, first=True), resume=resume)
    with following_cells(tracking, out, plan, config) as tracked:
        _run(plan, out, parallel_jobs, tracked)


def _list(plan: Any) -> None:
    """Print the cells of the grid, each that cannot run with the reason."""
    cells = plan.grid.cells()
    tell({"cells": [{"cell": str(cell), "barred": plan.barred.get(cell)} for cell in cells]})
    for cell in cells:
        reason = plan.barred.get(cell)
        print(f"{cell}{f': {reason}' if reason else ''}")
    print(f"{len(cells)} cells, {len(plan.barred)} of them cannot run")


def _run(plan: Any, out: Path, jobs: int, tracked: Any) -> None:
    """Run the grid, report each cell, tell `tracked`, print the tables; raises MosaicError at the end if one failed."""
    from mosaic_fl.comparison.cells import Results, remaining_seconds
    from mosaic_fl.comparison.grid import Cell
    from mosaic_fl.comparison.run_grid import run_grid
    from mosaic_fl.comparison.table import blocks, to_json
    from mosaic_fl.encoders.statement import encoder_figures, encoder_lines
    from mosaic_fl.report.comparison import comparison_picture, comparison_tables
    from mosaic_fl.report.page.page import write_page
    from mosaic_fl.report.sheet import can_draw

    picture = out / "pictures" / "compare.png" if can_draw() else None
    begin = time.monotonic()
    redraw_at = 0.0
    runnable = plan.runnable
    latest_results = dict[Cell, Any]()
    activity = ""

    def progress(results: Results) -> tuple[str, str]:
        """As ("[3/9]", "1:20 elapsed, about 2:40 left"): the number of finished cells, and the times."""
        pending = [cell for cell in runnable if cell not in results]
        parallel_jobs = min(jobs, len({cell.setting for cell in pending}) or 1)
        estimate = (remaining_seconds(pending, results) or 0) / parallel_jobs
        remainder = f", about {clock(estimate)} left" if estimate else ""
        times = f"{clock(time.monotonic() - begin)} elapsed{remainder}"
        return f"[{len(runnable) - len(pending)}/{len(runnable)}]", times

    def progress_line() -> str:
        cell_count, times = progress(latest_results)
        return f"{cell_count} {activity or 'at work'}; {times}"

    heartbeat = Heartbeat(Console(stderr=True), progress_line)

    def listen(stage: str, client: int, step: int, total: int) -> None:
        nonlocal activity
        current = next((str(cell) for cell in runnable if cell not in latest_results), "")
        cell = current if jobs == 1 else f"{jobs} at once"
        worker = f" of client {client}" if client >= 0 else ""
        activity = f"{cell}: {stage}{worker}, {step} of {total}"
        heartbeat.beat()

    def report_cell(cell: Cell, results: Results) -> None:
        nonlocal redraw_at
        latest_results.update(results)
        _write(plan, out, results)
        if picture and (start := time.monotonic()) > redraw_at:
            comparison_picture(blocks(plan.grid, results), picture)
            redraw_at = time.monotonic() + (time.monotonic() - start) / PICTURE_SHARE
        result = results[cell]
        tracked.after(cell, result)
        cell_count, times = progress(results)
        outcome = f"{100 * result.accuracy:.1f} %" if result.accuracy is not None else f"failed: {result.reason}"
        heartbeat.say(f"{cell_count} {cell}: {outcome} in {clock(result.seconds)}; {times}")

    heartbeat.say(f"{len(runnable)} cells in {len({cell.setting for cell in runnable})} settings at {jobs} at once")
    results = run_grid(plan, out, report_cell, jobs, listen)
    _write(plan, out, results)
    tables = blocks(plan.grid, results)
    if picture:
        comparison_picture(tables, picture)
    tell({"folder": out, **json.loads(to_json(tables, results, encoder_figures(plan.schema)))})
    console = Console(file=sys.stdout)
    for table in comparison_tables(tables):
        console.print(table)
    for line in encoder_lines(encoder_figures(plan.schema)):
        print(line)
    names = ["table.md", "table.csv", "table.json", "cells/", *(["pictures/compare.png"] if picture else [])]
    if any(result.accuracy is not None for result in results.values()):
        names.append(write_page(out).name)
    tracked.finish()
    print(f"Results: {out}/{', '.join(names)}")
    failures = {cell: result for cell, result in results.items() if result.status == "failed"}
    if failures:
        cell, result = next(iter(failures.items()))
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise MosaicError(f"failed: {cell}{more}: {result.reason}; --resume tries again")


def _write(plan: Any, out: Path, results: Any) -> None:
    """Write the tables of all results so far."""
    from mosaic_fl.comparison.table import blocks, to_csv, to_json
    from mosaic_fl.encoders.statement import encoder_figures, encoder_lines
    from mosaic_fl.report.comparison import to_markdown
    from mosaic_fl.runs.versions import versions
    from mosaic_fl.storage.files import write_atomic

    tables = blocks(plan.grid, results)
    encoder = encoder_figures(plan.schema)
    sizes = {str(seed): len(splits.test) for seed, splits in plan.splits.items()}
    about = {**encoder, "test_samples": sizes, "versions": dict(versions())}
    text = "".join([to_markdown(tables), *(f"\n{line}\n" for line in encoder_lines(encoder))])
    for name, content in (("md", text), ("csv", to_csv(tables)), ("json", to_json(tables, results, about))):
        write_atomic(out / f"table.{name}", content)


def _values(texts: dict[str, str], workers: str | None) -> dict[str, Any]:
    """The settings that the options set, by their names (`data.name`)."""
    settings = {
        "data.name": texts["data"],
        "models.clients": names(texts.get("models")),
        "models.student": texts.get("student"),
        "run.workers": 0 if workers == "auto" else workers,
    }
    return {name: value for name, value in settings.items() if value is not None}


def numbers(option: str, text: str, kind: Callable[[str], Value]) -> list[Value]:
    """`0,1,2` -> [0, 1, 2]; raises UsageError if a part is not a number."""
    try:
        return [kind(part) for part in words(option, text)]
    except ValueError:
        kind_name = "whole numbers" if kind is int else "numbers"
        raise UsageError(f"--{option} {text!r}: these are {kind_name} with commas between them, as 0,1,2") from None


def count(option: str, text: str) -> int:
    """`2` -> 2; raises UsageError for anything but a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--{option} {text!r}: write a number of at least 1, or auto")
    return int(text)
