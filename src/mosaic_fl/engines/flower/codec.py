"""A client's task as bytes that the server sends, and its result as bytes that come back.

The server says what to do and with which weights and settings; which data and which model of its own is the client's
to know. Settings from the network go through the same validation as a user's.
"""

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config, validate
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower.wire import is_figure
from mosaic_fl.engines.tasks import ContributeTask, EvaluateTask, FitTask, StatisticsTask
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import MAX_COUNT, Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, Start
from mosaic_fl.generators.latent import Latent
from mosaic_fl.models.network import load_network
from mosaic_fl.numerics.states import State
from mosaic_fl.registries import GENERATORS, NO_FAMILY
from mosaic_fl.storage import container

REQUEST = "request"
RESULT = "result"
EXPERTS = "experts"
MAX_DIGITS = 10  # of a client's number
MAX_LATENT = 100_000  # units of a layer that a request may ask for


@dataclass(frozen=True)
class FitFusion:
    """Train the aggregator `state` on the outputs of all experts; `experts` names them by their digest."""

    experts: str
    state: State
    settings: Mapping[str, Any]
    round: int


@dataclass(frozen=True)
class Deliver:
    """Keep the global model, whose file this is, and measure it."""

    model: bytes


Work = ContributeTask | FitTask | StatisticsTask | EvaluateTask | FitFusion | Deliver
NAMES: dict[type[Work], str] = {
    ContributeTask: "contribute",
    FitTask: "fit",
    StatisticsTask: "statistics",
    EvaluateTask: "evaluate",
    FitFusion: "fusion",
    Deliver: "deliver",
}


def encode(work: Work, config: Config) -> bytes:
    """The body of a request; the client's number is not in it, so that equal work of two clients is equal bytes."""
    said, tensors = _said(work)
    return container.pack(REQUEST, {"settings": config.site_settings(), "work": said}, tensors)


def kind_of(work: Work) -> Hashable:
    """What two works have in common whose bodies are the same, as long as both are there."""
    if isinstance(work, Deliver):
        return NAMES[Deliver], id(work)
    said, tensors = _said(work)
    return NAMES[type(work)], json.dumps(said), tuple((name, id(tensor)) for name, tensor in tensors.items())


def decode(name: str, body: bytes, client: int) -> tuple[Work, Config]:
    """(the work that `name` asks of `client`, its configuration), for bytes from anywhere; raises UsageError."""
    manifest, tensors = container.unpack(body, REQUEST, "request")
    match manifest:
        case {"settings": dict(settings), "work": dict(said)}:
            config = _site_config(settings)
            return _work(name, said, tensors, client, config), config
    raise UsageError("request: its manifest is not one of a request")


def _site_config(settings: dict[str, Any]) -> Config:
    """The configuration that a request brings; raises UsageError for settings that no server has a say in.

    So it does for a generator of another package that nobody has named here: a server lets a site import nothing.
    """
    allowed = Config().site_settings()
    for section, values in settings.items():
        if not isinstance(values, dict) or section not in allowed or values.keys() - allowed[section].keys():
            raise UsageError(f"request: it says settings of {str(section)[:40]!r} that are not for a server to say")
    config = validate(settings, "request")
    if (family := config.generator.family) not in NO_FAMILY:
        try:
            GENERATORS.received(family)
        except UsageError as error:
            raise UsageError(f"request: {error}") from error
    return config


def _said(work: Work) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """JSON values and tensors of a task."""
    match work:
        case ContributeTask(start=None):
            return {"start": None}, {}
        case ContributeTask(start=Start() as start):
            return {"start": start.architecture}, _under("state", start.state)
        case FitTask(job=job, round=round):
            said = {"architecture": job.architecture, "settings": dict(job.settings), "round": round, "latent": None}
            tensors = _under("state", job.state)
            if job.latent is not None:
                sizes = {name: getattr(job.latent, name) for name in ("noise", "width", "features", "weight")}
                said["latent"] = sizes
                tensors |= {"labels": job.latent.labels, **_under("latent", job.latent.state)}
            return said, tensors
        case StatisticsTask() | EvaluateTask():
            return {"architecture": work.architecture}, _under("state", work.state)
        case FitFusion():
            said = {"experts": work.experts, "settings": dict(work.settings), "round": work.round}
            return said, _under("state", work.state)
        case Deliver():
            return {}, {"model": as_tensor(work.model)}
    raise AssertionError(work)


def _work(name: str, said: dict[str, Any], tensors: State, client: int, config: Config) -> Work:
    """The inverse of `_said`."""
    state = _from("state", tensors)
    match name, said:
        case "contribute", {"start": None}:
            return ContributeTask(client)
        case "contribute", {"start": str(architecture)}:
            return ContributeTask(client, Start(architecture, state))
        case "fit", {"architecture": str(architecture), "settings": dict(settings), "round": int(round), "latent": of}:
            _require(config, "train", settings)
            latent = None if of is None else _latent(of, tensors)
            return FitTask(FitJob(client, architecture, state, settings, latent), round)
        case "statistics", {"architecture": str(architecture)}:
            return StatisticsTask(client, architecture, state)
        case "evaluate", {"architecture": str(architecture)}:
            return EvaluateTask(client, architecture, state)
        case "fusion", {"experts": str(experts), "settings": dict(settings), "round": int(round)}:
            _require(config, "meta", {key: value for key, value in settings.items() if value or key != "steps"})
            return FitFusion(experts, state, settings, round)
        case "deliver", {}:
            return Deliver(as_bytes(tensors.get("model", torch.zeros(0, dtype=torch.uint8))))
    raise UsageError(f"request: nobody here can do {name[:40]!r}")


def _require(config: Config, section: str, settings: dict[str, Any]) -> None:
    """Raise UsageError unless the changes are settings of that section with values in their bounds."""
    config.with_values({f"{section}.{key}": value for key, value in settings.items()})


def _latent(said: object, tensors: State) -> Latent:
    match said:
        case {"noise": int(noise), "width": int(width), "features": int(features), "weight": float() | int() as weight}:
            sizes = all(1 <= size <= MAX_LATENT for size in (noise, width, features))
            if sizes and is_figure(weight) and "labels" in tensors:
                return Latent(noise, width, features, tensors["labels"], float(weight), _from("latent", tensors))
    raise UsageError("request: its generator of features is none")


def encode_experts(files: Mapping[int, bytes]) -> bytes:
    """The experts' files by client, which go beside a request: who has their outputs already does not need them."""
    return container.pack(EXPERTS, {}, {str(client): as_tensor(data) for client, data in files.items()})


def decode_experts(extra: bytes) -> dict[int, bytes]:
    """The inverse of `encode_experts`, clients in increasing order, which is that of the aggregator's inputs."""
    _, tensors = container.unpack(extra, EXPERTS, "request")
    clients = {name: data for name, data in tensors.items() if name.isdecimal() and len(name) < MAX_DIGITS}
    return dict(sorted((int(name), as_bytes(data)) for name, data in clients.items()))


def encode_result(result: Fitted | Tensor) -> bytes:
    """The body of an answer: fitted weights, or a confusion matrix. A contribution is its own file's bytes."""
    if isinstance(result, Tensor):
        return container.pack(RESULT, {}, {"confusion": result})
    manifest = {"samples": result.samples, "validation": result.validation}
    return container.pack(RESULT, manifest, {"counts": result.class_counts, **_under("state", result.state)})


def decode_confusion(body: bytes, classes: int) -> Tensor:
    """A confusion matrix int64 (C, C) of bytes from anywhere; raises UsageError for anything else."""
    _, tensors = container.unpack(body, RESULT, "answer")
    found = tensors.get("confusion")
    if found is None or found.dtype != torch.int64 or found.shape != (classes, classes) or not _counts(found):
        raise UsageError(f"answer: not a table of {classes} by {classes} counts")
    return found


def decode_fitted(body: bytes, client: int, sent: State, classes: int, *, whole: bool = True) -> Fitted:
    """The answer to `fit`: all tensors that were `sent` come back, trained on some sample.

    Not `whole`, the answer to `statistics`: some of the tensors, perhaps of no sample. `classes` are those of
    `class_counts`, 0 where nobody asked for them. Raises UsageError unless the tensors are those that were sent, in
    name, shape and type: nothing is broadcast.
    """
    manifest, tensors = container.unpack(body, RESULT, "answer")
    state = _from("state", tensors)
    counts = tensors.get("counts")
    match manifest:
        case {"samples": int(samples), "validation": dict(validation)} if 0 <= samples <= MAX_COUNT:
            if whole and classes and not samples:
                raise UsageError("answer: it was trained on no sample")
            if not all(map(is_figure, validation.values())):
                raise UsageError("answer: its validation figures are none")
        case _:
            raise UsageError("answer: its manifest is not one of fitted weights")
    if counts is None or counts.dtype != torch.int64 or counts.shape != (classes,) or not _counts(counts):
        raise UsageError(f"answer: its class counts are not {classes} counts")
    if (whole and state.keys() != sent.keys()) or not state.keys() <= sent.keys():
        raise UsageError("answer: its weights are those of another model")
    for name, tensor in state.items():
        if tensor.shape != sent[name].shape or tensor.dtype != sent[name].dtype:
            raise UsageError(f"answer: its weights {name!r} have another shape or type than those it was sent")
    return Fitted(client, state, samples, validation, counts)


def decode_fused(body: bytes, client: int, sent: State) -> Fitted:
    """The answer to `fusion`, of a client that held `samples` back, perhaps none; raises UsageError as above."""
    fitted = decode_fitted(body, client, sent, 0)
    if fitted.samples and not {"loss", "accuracy"} <= fitted.validation.keys():
        raise UsageError("answer: it has no loss and accuracy")
    return fitted


@torch.no_grad()
def probe(architecture: str, schema: Schema, state: State) -> None:
    """Raise UsageError unless the weights fit the classifier and give finite outputs: an average would spread them."""
    model = load_network(architecture, schema, state, "answer")
    images = torch.linspace(-1, 1, 2 * math.prod(schema.shape)).view(2, *schema.shape)
    if not bool(model(images).isfinite().all()):
        raise UsageError("answer: its weights give non-finite outputs")


def decode_contribution(body: bytes, client: int, schema: Schema) -> Contribution:
    """A contribution that says it is `client`'s and of `schema`; raises UsageError for anything else."""
    made = Contribution.from_bytes(body, f"contribution of client {client}", schema)
    if made.client != client:
        raise UsageError(f"it is the contribution of client {made.client}")
    return made


def as_tensor(data: bytes) -> Tensor:
    """Bytes as uint8 (n,)."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)


def as_bytes(tensor: Tensor) -> bytes:
    """The inverse of `as_tensor`; raises UsageError for another type."""
    if tensor.dtype != torch.uint8:
        raise UsageError("request: bytes were expected")
    return tensor.numpy().tobytes()


def _counts(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= MAX_COUNT)).all())


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _from(prefix: str, tensors: State) -> State:
    return {name.removeprefix(f"{prefix}/"): t for name, t in tensors.items() if name.startswith(f"{prefix}/")}
