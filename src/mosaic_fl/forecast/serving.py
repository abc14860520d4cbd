"""Probes of methods with a generator at the server: a step's cost is the difference between few steps and more."""

import time
from collections.abc import Callable

import torch

from mosaic_fl.config import Config
from mosaic_fl.forecast.bench import Bench
from mosaic_fl.forecast.work import Unit
from mosaic_fl.generators.latent import LatentGenerator
from mosaic_fl.methods import coboosting, dense, dfrd, fedftg, fedgen
from mosaic_fl.server.synthesis.ensemble import FrozenExperts
from mosaic_fl.server.synthesis.generator import new_generator
from mosaic_fl.storage.journal import Stage
from mosaic_fl.training.monitor import Recorder

EXTRA_STEPS = 3  # steps by which two measurements differ


def synthesis_probe(unit: Unit, bench: Bench, batch: int, seconds: float) -> float:
    """A step of the server's generator."""
    return _difference("generator_steps", unit, bench, batch)


def lesson_probe(unit: Unit, bench: Bench, batch: int, seconds: float) -> float:
    """A step of the student on the server's generator."""
    return _difference("student_steps", unit, bench, batch)


def features_probe(unit: Unit, bench: Bench, batch: int, seconds: float) -> float:
    """A step of FedGen's feature generator."""
    experts = [bench.model(unit.name).eval().requires_grad_(False) for _ in range(len(bench.experts))]
    with torch.no_grad():
        features = experts[0].features(torch.zeros(2, *bench.schema.shape)).shape[1]
    counts = torch.full((len(experts), bench.schema.num_classes), 10)

    def run_steps(steps: int) -> None:
        update = {"epochs": 1, "generator_steps": steps, "batch_size": batch}
        settings = bench.config.synthesis.model_copy(update=update)
        with bench.stream.ambient():
            generator = LatentGenerator(settings.latent, settings.width, bench.schema.num_classes, features)
        fedgen.train_generator(generator, [e.head for e in experts], counts, settings, bench.stream)

    return _step(run_steps)


def _difference(steps: str, unit: Unit, bench: Bench, batch: int) -> float:
    """Seconds of one more of the setting `steps` in the method's own code."""
    method = bench.config.run.method

    def run_steps(count: int) -> None:
        values = {
            "models.student": unit.name,
            "synthesis.epochs": 1,
            "synthesis.batch_size": batch,
            "synthesis.pool_batch_size": batch,
            "synthesis.generator_steps": 1,
            "synthesis.student_steps": 1,
        }
        config = bench.config.with_values(values | {f"synthesis.{steps}": count})
        if method in ("dense", "coboosting"):
            distil = dense.distil if method == "dense" else coboosting.distil
            distil(bench.contributions, config, bench.device, range(1), Stage(), Recorder())
        else:
            _fine_tune(unit, bench, config)

    return _step(run_steps)


def _fine_tune(unit: Unit, bench: Bench, config: Config) -> None:
    experts = FrozenExperts([bench.model(unit.name).eval() for _ in bench.experts], bench.device)
    generator = new_generator(bench.schema, config.synthesis, bench.stream).to(bench.device)
    student = bench.model(unit.name).to(bench.device)
    counts = torch.full((len(bench.experts), bench.schema.num_classes), 10)
    settings = config.synthesis
    stream = bench.stream
    if config.run.method == "dfrd":
        dfrd.fine_tune(student, generator, generator, experts, counts, settings, stream, Recorder())
    else:
        fedftg.fine_tune(student, generator, experts, counts, settings, stream, Recorder())


def _step(run_steps: Callable[[int], None]) -> float:
    """Seconds of a step after a warm-up: the difference between more steps and one, divided by their number."""
    run_steps(1)
    marks = [time.perf_counter()]
    for count in (1, 1 + EXTRA_STEPS):
        run_steps(count)
        marks.append(time.perf_counter())
    short = marks[1] - marks[0]
    long = marks[2] - marks[1]
    return max(long - short, 0.02 * long) / EXTRA_STEPS
