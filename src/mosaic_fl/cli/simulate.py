"""`mosaic run` once its configuration is known: progress, the run itself, pictures, the table."""

import sys
from collections import Counter
from pathlib import Path

import torch
from rich.console import Console

from mosaic_fl.config import Config
from mosaic_fl.contribution import Contribution
from mosaic_fl.data.partition import class_table
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.averaging import round_name
from mosaic_fl.randomness import Stream
from mosaic_fl.report.pictures import accuracy_picture, samples_picture, split_picture
from mosaic_fl.report.progress import Display
from mosaic_fl.report.tables import accuracy_table, rows
from mosaic_fl.run_folder import claim
from mosaic_fl.runs import Prepared, prepare, run
from mosaic_fl.server.pool import sheet

DRAWN = 4  # generated samples shown a client and class
# Seconds of one step beside another's, roughly: only the first guess of the progress display.
STAGES = {"train": 1.0, "generator": 1.5, "centralised": 1.0, "meta": 1.5, "pool": 100.0, "student": 1.2}


def simulate(config: Config, out: Path, *, resume: bool, force: bool) -> None:
    """Prepare, run, draw and print; see `runs`."""
    console = Console(stderr=True)
    with console.status("loading and splitting the data"):
        prepared = prepare(config)
    claim(out, "run", prepared.inputs, prepared.config, [Path(config.data.name)], resume=resume, force=force)
    with Display(_plan(prepared), console, clients=len(prepared.sites)) as display:
        finished: set[int] = set()

        def listen(stage: str, client: int, done: int, total: int) -> None:
            if stage == "client":
                finished.add(client)
                if len(finished) == len(prepared.sites):
                    display.finish("train")
                    display.finish("generator")
            elif client < 0 and done >= total:
                display.finish(stage)
            else:
                display.update(stage, client, done, total)

        result = run(prepared, out, listen)
    _draw(prepared, out, result)
    table = Console(file=sys.stdout)
    table.print(accuracy_table(result))
    for line, count in Counter(result.get("generators", ())).items():
        table.print(f"Generators: {count} × {line}", highlight=False)
    table.print(f"Results: {out}/result.json, global_model.safetensors, contributions/, pictures/", highlight=False)


def _plan(prepared: Prepared) -> list[tuple[str, float]]:
    """The run's stages with a first guess of what each costs."""
    from mosaic_fl.client.training import steps_for

    config, workers = prepared.config, 2 if prepared.config.run.workers != 1 else 1
    local = sum(steps_for(len(site.data), config.train) for site in prepared.sites) / workers
    before, after = config.rounds.warm_up, config.rounds.fine_tune
    rounds = [(round_name(r), local) for r in range(before + after)]
    if METHODS[config.run.method].rounds:
        return rounds[:before] or [(round_name(0), local)]
    steps = {
        "train": local,
        "generator": len(prepared.sites) * config.generator.steps / workers,
        "meta": config.meta.steps if config.meta.kind != "none" else 0,
        "pool": 1,
        "student": config.distill.steps,
        "centralised": config.distill.steps if config.run.centralised else 0,
    }
    distilling = [(stage, STAGES[stage] * count) for stage, count in steps.items() if count]
    return [*rounds[:before], *distilling, *rounds[before:]]


def _draw(prepared: Prepared, out: Path, result: dict[str, object]) -> None:
    pictures, names = out / "pictures", prepared.splits.train.schema.classes
    counts = class_table([site.data for site in prepared.sites])
    split_picture(counts, names, pictures / "split.png")
    accuracy_picture(rows(result), pictures / "accuracy.png")
    kept = sorted((out / "contributions").glob("*.contribution"))
    if kept:
        contributions = [Contribution.load(path) for path in kept]
        stream = Stream(prepared.config.run.seed, "pictures")
        sheets = [(f"client {c.client} · {c.architecture}", sheet(c, DRAWN, stream)) for c in contributions]
        held = torch.stack([c.class_counts for c in contributions]) > 0
        samples_picture(sheets, held, names, pictures / "samples.png")
