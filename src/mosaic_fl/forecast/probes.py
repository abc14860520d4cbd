"""How each kind of work is measured: by the run's own code for it, on a few images. One probe a kind."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from mosaic_fl.client.fusion import train_aggregator
from mosaic_fl.client.prototypes import prototypes
from mosaic_fl.encoders.naming import make_encoder
from mosaic_fl.experts.training import train_classifier
from mosaic_fl.forecast.bench import STEPS, Bench, step_seconds
from mosaic_fl.forecast.foreign import boost_probe, fit_probe, is_network
from mosaic_fl.forecast.serving import features_probe, lesson_probe, synthesis_probe
from mosaic_fl.forecast.sizes import generator_spec
from mosaic_fl.forecast.work import Kind, Unit
from mosaic_fl.generators.base import build as build_generator
from mosaic_fl.models.fusion import Aggregator
from mosaic_fl.models.inference import logits
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.server.meta_training import train_meta
from mosaic_fl.server.student import Lesson, train_student
from mosaic_fl.server.teachers import MOMENTS_META, Teachers
from mosaic_fl.training.monitor import Recorder

MANY = 10**9  # a fit's cost is that of all samples of the largest one, on a line through few and more of them
Probe = Callable[[Unit, Bench, int, float], float]
"""(unit, bench, samples at once, seconds to spend) -> seconds of one step, or of one image for work without steps."""


def train_probe(unit: Unit, bench: Bench, batch: int, seconds: float) -> float:
    """A step of a client's classifier."""
    data = bench.data(max(2, batch))
    model = bench.model(unit.name)
    bounds = {"batch_size": max(2, batch), "min_steps": STEPS, "max_steps": STEPS}
    settings = bench.config.train.model_copy(update=dict(unit.changes) | bounds)
    empty = data.subset([])
    return step_seconds(
        lambda timer: train_classifier(model, data, empty, settings, bench.stream, bench.device, timer), seconds
    )


def generator_probe(unit: Unit, bench: Bench, batch: int, seconds: float) -> float:
    """A step of a client's generator."""
    data = bench.data(max(2, batch))
    bounds = {"family": unit.name, "batch_size": max(2, batch), "steps": STEPS}
    settings = bench.config.generator.model_copy(update=bounds)
    expert = bench.network
    train = GENERATORS[unit.name].train
    return step_seconds(lambda timer: train(data, expert, settings, bench.stream, bench.device, timer), seconds)


def forward_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """An image through a classifier, without gradients, or by a model that is no network."""
    if not is_network(unit.name):
        expert = bench.expert(unit.name)
        few = bench.data(n).samples
        return _image_seconds(lambda m: expert.log_probabilities(few[slice(m)], bench.device), n)
    model = bench.model(unit.name).to(bench.device)
    samples = bench.data(n).samples
    return _image_seconds(lambda m: logits(model, samples[slice(m)], bench.device), n)


def sample_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """A sample of a generator."""
    with bench.stream.ambient():
        spec = generator_spec(unit.name, bench.config.generator, bench.schema)
        generator = build_generator(spec, bench.schema).to(bench.device).eval()
    labels = torch.arange(n) % bench.schema.num_classes
    rng = bench.stream.torch()
    return _image_seconds(lambda m: bench.schema.kind.to_rest(generator.sample(labels[:m], rng)).cpu(), n)


def prior_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """A prior image that is mixed with another."""
    kind = bench.schema.kind
    settings = bench.config.distill
    pool = bench.data(n).samples.only

    def draw(m: int) -> object:
        prior = kind.prior(kind.prior_source(settings.prior), m, bench.stream)
        return kind.mixed(prior, pool, settings, bench.config.run.seed)

    return _image_seconds(draw, n)


def prototypes_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """A client's image in the making of prototypes."""
    model = None if bench.schema.is_space else bench.model(unit.name).eval()
    data = bench.data(n)
    every = torch.arange(n)
    return _image_seconds(lambda m: prototypes(model, data.subset(every[:m]), bench.config.prototypes, bench.stream), n)


def density_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """A client's sample in the fit of the density that ends a generator's training, or of a generator without steps."""
    settings = bench.config.generator.model_copy(update={"family": unit.name, "steps": 1, "batch_size": 2})
    data = bench.data(n)
    every = torch.arange(n)
    expert = bench.network
    train = GENERATORS[unit.name].train
    return _image_seconds(
        lambda m: train(data.subset(every[:m]), expert, settings, bench.stream, bench.device, Recorder()), n
    )


def encode_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """An image through a public encoder."""
    encoder = make_encoder(unit.name, bench.schema.kind)
    images = bench.data(n).samples.only
    return _image_seconds(lambda m: encoder.vectors(images[:m], bench.device), n)


def meta_probe(unit: Unit, bench: Bench, batch: int, seconds: float) -> float:
    """A step of the meta model."""
    experts = int(dict(unit.changes)["experts"])
    settings = bench.config.meta.model_copy(update={"batch_size": batch, "steps": STEPS, "holdout": 0.01})
    outputs = bench.outputs(2 * batch, experts)
    labels = torch.arange(2 * batch) % bench.schema.num_classes
    weights = torch.full((experts, bench.schema.num_classes), 1 / experts)
    return step_seconds(
        lambda timer: train_meta(outputs, labels, weights, settings, bench.config.run.seed, bench.device, timer),
        seconds,
    )


def teachers_probe(unit: Unit, bench: Bench, n: int, seconds: float) -> float:
    """A teacher's probabilities for an image; "evened" is the bias of the class-evened teacher."""
    outputs = bench.outputs(n, unit.batch)
    classes = bench.schema.num_classes
    even = torch.full((unit.batch, classes), 1 / unit.batch)
    with bench.stream.ambient():
        meta = MetaTransformer(even, bench.config.meta) if unit.name == "meta" else None
        joined = torch.full((unit.batch + 1, classes), 1 / (unit.batch + 1))
        beside = MetaTransformer(joined, bench.config.meta) if unit.name == MOMENTS_META else None
    mixture = MixtureOfExperts((), even, torch.full((unit.batch, classes), 1 / classes))
    teachers = Teachers(mixture, meta, moments_meta=beside)
    if unit.name == "evened":
        balanced = outputs[:, 0].log_softmax(1)
        return _image_seconds(lambda m: teachers.evened_over(balanced[:m]), n)

    def answer(m: int) -> object:
        told = replace(
            teachers,
            log_shares=torch.zeros(m, unit.batch),
            closed_outputs=torch.zeros(m, classes),
            moments_shares=torch.zeros(m, unit.batch + 1),
        )
        return told.log_probabilities(unit.name, outputs[:m])

    return _image_seconds(answer, n)


def student_probe(unit: Unit, bench: Bench, batch: int, seconds: float) -> float:
    """A step of the student."""
    data = bench.data(2 * max(2, batch))
    student = bench.model(unit.name)
    lesson = Lesson(data.samples, data.labels, bench.outputs(len(data), 1)[:, 0].log_softmax(1))
    update = {"batch_size": max(2, batch), "steps": STEPS, "holdout": 0.0}
    settings = bench.config.distill.model_copy(update=update)
    return step_seconds(
        lambda timer: train_student(student, lesson, settings, bench.stream, bench.device, timer), seconds
    )


def fusion_probe(unit: Unit, bench: Bench, batch: int, seconds: float) -> float:
    """A step of FENS's aggregator."""
    experts = int(dict(unit.changes)["experts"])
    classes = bench.schema.num_classes
    outputs = bench.outputs(batch, experts)
    labels = torch.arange(batch) % classes
    settings = bench.config.meta.model_copy(update={"steps": STEPS, "batch_size": batch})
    with bench.stream.ambient():
        aggregator = Aggregator(experts, classes, settings.width)
    return step_seconds(
        lambda timer: train_aggregator(aggregator, outputs, labels, settings, bench.stream, bench.device, timer),
        seconds,
    )


def _image_seconds(work: Callable[[int], object], n: int) -> float:
    """Seconds an image of `work` on n images, after a warm-up."""
    work(min(2, n))
    start = time.perf_counter()
    work(n)
    return (time.perf_counter() - start) / n


PROBES: dict[Kind, Probe] = {
    "train": train_probe,
    "generator": generator_probe,
    "forward": forward_probe,
    "sample": sample_probe,
    "prior": prior_probe,
    "prototypes": prototypes_probe,
    "density": density_probe,
    "meta": meta_probe,
    "teachers": teachers_probe,
    "student": student_probe,
    "synthesis": synthesis_probe,
    "lesson": lesson_probe,
    "features": features_probe,
    "fusion": fusion_probe,
    "fit": fit_probe,
    "boost": boost_probe,
    "encode": encode_probe,
}
AT_ONCE: dict[Kind, int] = {
    "forward": 128, "sample": 128, "prior": 64, "prototypes": 128, "density": 128, "teachers": 2048,
    "fit": MANY, "boost": MANY, "encode": 64,
}  # fmt: skip
"""Images measured at once, by kind of work without steps."""
