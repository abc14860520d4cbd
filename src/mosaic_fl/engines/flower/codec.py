"""Tasks as bytes: the bodies of requests. Those of answers: `answer_codec`.

A request has the task, the weights and the settings. It does not choose the client's data or its own model. Settings
from the network go through the same validation as a user's.
"""

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config, validate
from mosaic_fl.engines.flower.boost_codec import boost_parts, boost_task
from mosaic_fl.engines.flower.wire import is_figure
from mosaic_fl.engines.tasks import AnswerTask, BoostTask, ContributeTask, EvaluateTask, FitTask, StatisticsTask
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import FitJob, Start
from mosaic_fl.exchange.query import Query
from mosaic_fl.generators.latent import Latent
from mosaic_fl.numerics.states import State, prefixed, under
from mosaic_fl.registries import GENERATORS, NO_FAMILY
from mosaic_fl.storage import container

REQUEST = "request"
EXPERTS = "experts"
MAX_DIGITS = 10  # of a client's number
MAX_LATENT = 100_000  # units of a layer that a request may ask for


@dataclass(frozen=True)
class FitFusion:
    """Train the aggregator `state` on the outputs of all experts; `experts` is the digest of their files."""

    experts: str
    state: State
    settings: Mapping[str, Any]
    round: int


@dataclass(frozen=True)
class Deliver:
    """Store the global model, whose file's bytes are `model`, and measure it."""

    model: bytes


Work = ContributeTask | AnswerTask | FitTask | BoostTask | StatisticsTask | EvaluateTask | FitFusion | Deliver
NAMES: dict[type[Work], str] = {
    ContributeTask: "contribute",
    AnswerTask: "answer",
    FitTask: "fit",
    BoostTask: "boost",
    StatisticsTask: "statistics",
    EvaluateTask: "evaluate",
    FitFusion: "fusion",
    Deliver: "deliver",
}


def encode(work: Work, config: Config) -> bytes:
    """The body of a request. It has no client number, so equal work of two clients is equal bytes."""
    values, tensors = _parts(work)
    return container.pack(REQUEST, {"settings": config.site_settings(), "work": values}, tensors)


def kind_of(work: Work) -> Hashable:
    """A key that is equal for works with equal bodies; valid as long as the works exist."""
    if isinstance(work, Deliver | AnswerTask):
        return NAMES[type(work)], id(work)
    values, tensors = _parts(work)
    return NAMES[type(work)], json.dumps(values), tuple((name, id(tensor)) for name, tensor in tensors.items())


def decode(name: str, body: bytes, client: int) -> tuple[Work, Config]:
    """(work of the kind `name` for `client`, its configuration) of bytes from any source; raises UsageError."""
    manifest, tensors = container.unpack(body, REQUEST, "request")
    match manifest:
        case {"settings": dict(settings), "work": dict(values)}:
            config = _site_config(settings)
            return _work(name, values, tensors, client, config), config
    raise UsageError("request: its manifest is not one of a request")


def _site_config(settings: dict[str, Any]) -> Config:
    """The configuration of a request; raises UsageError for settings that a server may not choose.

    Also raises it for a generator of another package that this site has not allowed: no server makes a site import
    code.
    """
    site_settings = Config().site_settings()
    for section, values in settings.items():
        names = site_settings.get(section)
        if not isinstance(values, dict) or names is None or values.keys() - names.keys():
            raise UsageError(f"request: it has settings of {str(section)[:40]!r} that a server may not choose")
    config = validate(settings, "request")
    if (family := config.generator.family) not in NO_FAMILY:
        try:
            GENERATORS.received(family)
        except UsageError as error:
            raise UsageError(f"request: {error}") from error
    return config


def _parts(work: Work) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON values and the tensors of a task."""
    match work:
        case ContributeTask(start=None):
            return {"start": None}, {}
        case ContributeTask(start=Start() as start):
            return {"start": start.architecture}, prefixed("state", start.state)
        case AnswerTask():
            return {}, {"query": as_tensor(work.query.content)}
        case FitTask(job=job, round=round):
            values = {"architecture": job.architecture, "settings": dict(job.settings), "round": round, "latent": None}
            tensors = prefixed("state", job.state)
            if job.latent is not None:
                sizes = {name: getattr(job.latent, name) for name in ("noise", "width", "features", "weight")}
                values["latent"] = sizes
                tensors |= {"labels": job.latent.labels, **prefixed("latent", job.latent.state)}
            return values, tensors
        case BoostTask():
            return boost_parts(work)
        case StatisticsTask():
            return {"architecture": work.architecture}, prefixed("state", work.state)
        case EvaluateTask():
            return {"architecture": work.architecture, "losses": work.losses}, prefixed("state", work.state)
        case FitFusion():
            values = {"experts": work.experts, "settings": dict(work.settings), "round": work.round}
            return values, prefixed("state", work.state)
        case Deliver():
            return {}, {"model": as_tensor(work.model)}
    raise AssertionError(work)


def _work(name: str, values: dict[str, Any], tensors: State, client: int, config: Config) -> Work:
    """The inverse of `_parts`."""
    state = under("state/", tensors)
    match name, values:
        case "contribute", {"start": None}:
            return ContributeTask(client)
        case "contribute", {"start": str(architecture)}:
            return ContributeTask(client, Start(architecture, state))
        case "answer", {}:
            query = Query.from_bytes(_bytes("query", tensors), "request")
            if query.client != client:
                raise UsageError(f"request: it has a query for client {query.client}")
            return AnswerTask(query)
        case "fit", {"architecture": str(architecture), "settings": dict(settings), "round": int(round), "latent": of}:
            _require(config, "train", settings)
            latent = None if of is None else _latent(of, tensors)
            return FitTask(FitJob(client, architecture, state, settings, latent), round)
        case "boost", _:
            return boost_task(values, tensors, client, config)
        case "statistics", {"architecture": str(architecture)}:
            return StatisticsTask(client, architecture, state)
        case "evaluate", {"architecture": str(architecture), "losses": bool(losses)}:
            return EvaluateTask(client, architecture, state, losses)
        case "fusion", {"experts": str(experts), "settings": dict(settings), "round": int(round)}:
            _require(config, "meta", {key: value for key, value in settings.items() if value or key != "steps"})
            return FitFusion(experts, state, settings, round)
        case "deliver", {}:
            return Deliver(_bytes("model", tensors))
    raise UsageError(f"request: nobody here can do {name[:40]!r}")


def _bytes(name: str, tensors: State) -> bytes:
    return as_bytes(tensors.get(name, torch.zeros(0, dtype=torch.uint8)))


def _require(config: Config, section: str, settings: dict[str, Any]) -> None:
    """Raise UsageError unless `settings` are names of that section with valid values."""
    config.with_values({f"{section}.{key}": value for key, value in settings.items()})


def _latent(content: object, tensors: State) -> Latent:
    match content:
        case {"noise": int(noise), "width": int(width), "features": int(features), "weight": float() | int() as weight}:
            sizes = all(1 <= size <= MAX_LATENT for size in (noise, width, features))
            if sizes and is_figure(weight) and "labels" in tensors:
                return Latent(noise, width, features, tensors["labels"], float(weight), under("latent/", tensors))
    raise UsageError("request: its generator of features is malformed")


def encode_experts(files: Mapping[int, bytes]) -> bytes:
    """The `extra` of a request: the experts' files by client. A client that has their outputs does not need it."""
    return container.pack(EXPERTS, {}, {str(client): as_tensor(data) for client, data in files.items()})


def decode_experts(extra: bytes) -> dict[int, bytes]:
    """The inverse of `encode_experts`, in the order of the clients, as the aggregator's inputs are."""
    _, tensors = container.unpack(extra, EXPERTS, "request")
    clients = {name: data for name, data in tensors.items() if name.isdecimal() and len(name) < MAX_DIGITS}
    return dict(sorted((int(name), as_bytes(data)) for name, data in clients.items()))


def as_tensor(data: bytes) -> Tensor:
    """Bytes as uint8 (n,)."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)


def as_bytes(tensor: Tensor) -> bytes:
    """The inverse of `as_tensor`; raises UsageError for another type."""
    if tensor.dtype != torch.uint8:
        raise UsageError("request: bytes were expected")
    return tensor.numpy().tobytes()
