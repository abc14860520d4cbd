"""Part (a) of `accelerator.py`: each path of a device against the CPU, from the same seeds and draws."""

import os
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset, image_dataset
from mosaic_fl.domains.image.schema import image_schema
from mosaic_fl.experts.training import train_classifier
from mosaic_fl.generators import cvae, flow
from mosaic_fl.models import build
from mosaic_fl.models.inference import logits
from mosaic_fl.numerics.precision import mixed
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.meta_training import train_meta
from mosaic_fl.server.student import Lesson, train_student
from mosaic_fl.training import descent
from mosaic_fl.training.monitor import Recorder

STEPS = 24  # more than `descent.LEAST_GRAPHED`
SIDE = {False: 32, True: 8}  # pixels, by whether it is tiny
RATES = {"train.lr": 2e-4, "generator.lr": 2e-4, "distill.lr": 2e-4, "meta.lr": 2e-4}
# ‖device − CPU‖ / ‖CPU‖ of the losses of `STEPS` steps, of samples or of logits: rounding grows from step to step
TOLERANCE = {"float32": 1e-2, "auto": 5e-2, "no graph": 1e-2}
CALM = {"float32": 1e-3, "auto": 3e-2, "no graph": 1e-3}  # of a single pass


@dataclass(frozen=True)
class Check:
    """A path of the product: what it computes on a device in a precision, float (n,) on the CPU, and its tolerances."""

    name: str
    compute: Callable[[torch.device, str], torch.Tensor]
    tolerance: Mapping[str, float]


def compare(device: torch.device, *, tiny: bool, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Every check with float32 (without TF32), with bfloat16 (`auto`), and without CUDA graphs: errors, verdicts.

    `keep` gets the figures so far.
    """
    rows = []
    with exact_float32():
        for check in checks(tiny=tiny):
            torch.set_num_threads(os.cpu_count() or 1)
            reference = check.compute(torch.device("cpu"), "float32")
            torch.set_num_threads(1)
            for way, tolerance in check.tolerance.items():
                rows.append(verdict(check, device, way, reference, tolerance))
                keep({"rows": rows})
    return {"rows": rows, "ok": all(row["ok"] for row in rows)}


def verdict(check: Check, device: torch.device, way: str, reference: torch.Tensor, tolerance: float) -> dict[str, Any]:
    """The error of a path on a device; a fault is a verdict too, so that the other paths are still checked."""
    least = descent.LEAST_GRAPHED
    try:
        descent.LEAST_GRAPHED = 10**9 if way == "no graph" else least
        value = check.compute(device, "float32" if way == "no graph" else way)
        error = float((value - reference).norm() / reference.norm())
        row = {"error": error, "ok": error <= tolerance}  # NaN is not
    except Exception as fault:
        row = {"error": None, "ok": False, "fault": f"{type(fault).__name__}: {fault}"[:500]}
    finally:
        descent.LEAST_GRAPHED = least
    row = {"path": check.name, "way": way, "tolerance": tolerance, **row}
    print(row, flush=True)
    return row


def checks(*, tiny: bool) -> list[Check]:
    """All paths: training and inference of classifiers, generators and their samples, meta model, student."""
    name = "resnet8" if tiny else "resnet18"
    data = random_images(64 if tiny else 1024, SIDE[tiny])
    batch = 8 if tiny else 32
    count = 3 if tiny else STEPS

    trained = dict[str, Any]()

    def settings(precision: str) -> Config:
        sections = {f"{section}.precision": precision for section in ("train", "generator", "distill")}
        sizes = {f"{section}.batch_size": batch for section in ("train", "generator", "distill", "meta")}
        steps = {"train.min_steps": count, "train.max_steps": count, "train.check_every": 1, "train.patience": 0}
        more = {"generator.steps": count, "distill.steps": count, "meta.steps": count, "distill.augment": "flip"}
        return Config().with_values({**RATES, **sections, **sizes, **steps, **more})

    def classifier() -> Any:
        with Stream(0, "init").ambient():
            return build(name, data.schema)

    def training(device: torch.device, precision: str) -> torch.Tensor:
        recorder = Recorder()
        empty = data.subset(torch.arange(0))
        train_classifier(classifier(), data, empty, settings(precision).train, Stream(0, "t"), device, recorder)
        return losses(recorder, "loss")

    def inference(device: torch.device, precision: str) -> torch.Tensor:
        with mixed(device, precision):  # type: ignore[arg-type]
            return logits(classifier().to(device), data.samples, device)

    def generator(module: Any, device: torch.device, precision: str, recorder: Recorder) -> Any:
        module.LOG_EVERY = 1
        train = module.train_vae if module is cvae else module.train_flow
        drawing = train(data, classifier(), settings(precision).generator, Stream(0, "g"), device, recorder)
        if device.type == "cpu":
            trained[module.__name__] = drawing
        return drawing

    def fitting(module: Any) -> Callable[[torch.device, str], torch.Tensor]:
        def fit(device: torch.device, precision: str) -> torch.Tensor:
            recorder = Recorder()
            generator(module, device, precision, recorder)
            return losses(recorder, "generator_loss")

        return fit

    def sampling(module: Any) -> Callable[[torch.device, str], torch.Tensor]:
        def draw(device: torch.device, precision: str) -> torch.Tensor:
            drawing = trained[module.__name__]  # by the check of its training, which comes before
            with mixed(device, precision):  # type: ignore[arg-type]
                return drawing.to(device).sample(data.labels[:256], Stream(0, "s").torch()).float().cpu()

        return draw

    def student(device: torch.device, precision: str) -> torch.Tensor:
        teacher = torch.randn(len(data), 10, generator=Stream(0, "teacher").torch()).log_softmax(1)
        lesson = Lesson(data.samples, data.labels, teacher)
        recorder = Recorder()
        train_student(classifier(), lesson, settings(precision).distill, Stream(0, "d"), device, recorder)
        return losses(recorder, "loss")

    def meta(device: torch.device, _: str) -> torch.Tensor:
        outputs = torch.randn(len(data), 5, 10, generator=Stream(0, "meta").torch())
        recorder = Recorder()
        train_meta(outputs, data.labels, torch.full((5, 10), 0.2), settings("float32").meta, 0, device, recorder)
        return losses(recorder, "holdout_loss")

    without_auto = {way: value for way, value in TOLERANCE.items() if way != "auto"}
    calm = {way: value for way, value in CALM.items() if way != "no graph"}
    return [
        Check(f"{name}: {count} training steps", training, TOLERANCE),
        Check(f"{name}: inference", inference, calm),
        Check(f"cvae: {count} training steps", fitting(cvae), TOLERANCE),
        Check("cvae: samples", sampling(cvae), calm),
        Check(f"flow: {count} training steps", fitting(flow), TOLERANCE),
        Check("flow: samples", sampling(flow), calm),
        Check(f"{name}: {count} steps of the student", student, TOLERANCE),
        Check(f"meta model: {count} steps", meta, without_auto),
    ]


def losses(recorder: Recorder, name: str) -> torch.Tensor:
    """All values that a training recorded under this name."""
    return torch.tensor([figures[name] for figures in recorder.metrics if name in figures], dtype=torch.float64)


def random_images(n: int, side: int) -> Dataset:
    """`n` images of `side` pixels in ten classes: smooth random colours that depend on the class."""
    rng = Stream(0, "images").torch()
    labels = torch.arange(n) % 10
    coarse = torch.randn(n, 3, 4, 4, generator=rng) + torch.randn(10, 3, 4, 4, generator=rng)[labels]
    images = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    pixels = (images * 40 + 128).clamp(0, 255).to(torch.uint8)
    return image_dataset(pixels, labels, image_schema((3, side, side), tuple("0123456789")))


@contextmanager
def exact_float32():  # type: ignore[no-untyped-def]
    """Within the block float32 is not TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
