"""Results as bytes: the bodies of answers, each read as from any source."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.domains.samples import example_inputs
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower.wire import is_figure
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import MAX_COUNT, Contribution
from mosaic_fl.exchange.federation import Fitted
from mosaic_fl.exchange.site_scores import SiteScores
from mosaic_fl.models.network import load_network
from mosaic_fl.numerics.states import State, prefixed, under
from mosaic_fl.storage import container

RESULT = "result"


@dataclass(frozen=True)
class Delivered:
    """The answer to `Deliver`: the global model's `confusion` int64 (C, C), and `scores` where the site tells them."""

    confusion: Tensor
    scores: SiteScores | None = None


def encode_result(result: Fitted | Tensor | Delivered) -> bytes:
    """The body of an answer with fitted weights or a confusion matrix. Contributions have their own file format."""
    if isinstance(result, Tensor):
        return container.pack(RESULT, {}, {"confusion": result})
    if isinstance(result, Delivered):
        scores = {} if result.scores is None else {"scores": result.scores.to_json()}
        return container.pack(RESULT, scores, {"confusion": result.confusion})
    manifest = {"samples": result.samples, "validation": result.validation}
    return container.pack(RESULT, manifest, {"counts": result.class_counts, **prefixed("state", result.state)})


def decode_counts(body: bytes, rows: int, columns: int) -> Tensor:
    """A confusion matrix or a table of losses, int64, of bytes from any source; raises UsageError for anything else."""
    _, tensors = container.unpack(body, RESULT, "answer")
    matrix = tensors.get("confusion")
    if matrix is None or matrix.dtype != torch.int64 or matrix.shape != (rows, columns) or not _are_counts(matrix):
        raise UsageError(f"answer: not a table of {rows} by {columns} counts")
    return matrix


def decode_scores(body: bytes, client: int, classes: int) -> SiteScores | None:
    """The scores in an answer to `Deliver`, None where its site tells none; raises UsageError for another client's."""
    manifest, _ = container.unpack(body, RESULT, "answer")
    if "scores" not in manifest:
        return None
    try:
        scores = SiteScores.from_json(manifest["scores"])
    except UsageError as error:
        raise UsageError(f"answer: {error}") from error
    if (scores.client, scores.classes) != (client, classes):
        raise UsageError(f"answer: scores of client {scores.client} and {scores.classes} classes")
    return scores


def decode_fitted(body: bytes, client: int, original: State, classes: int, *, whole: bool = True) -> Fitted:
    """The answer to `fit`: all tensors of the `original` state, after training on at least one sample.

    Without `whole` it is the answer to `statistics`: some of the tensors, perhaps of no sample. `classes` is the length
    of `class_counts`, 0 where the answer has none. Raises UsageError unless the tensors have the names, shapes and
    types of the original ones, since nothing may be broadcast.
    """
    manifest, tensors = container.unpack(body, RESULT, "answer")
    state = under("state/", tensors)
    counts = tensors.get("counts")
    match manifest:
        case {"samples": int(samples), "validation": dict(validation)} if 0 <= samples <= MAX_COUNT:
            if whole and classes and not samples:
                raise UsageError("answer: it was trained on no sample")
            if not all(map(is_figure, validation.values())):
                raise UsageError("answer: its validation figures are not finite numbers")
        case _:
            raise UsageError("answer: its manifest is not one of fitted weights")
    if counts is None or counts.dtype != torch.int64 or counts.shape != (classes,) or not _are_counts(counts):
        raise UsageError(f"answer: its class counts are not {classes} counts")
    if (whole and state.keys() != original.keys()) or not state.keys() <= original.keys():
        raise UsageError("answer: its weights are those of another model")
    for name, tensor in state.items():
        if tensor.shape != original[name].shape or tensor.dtype != original[name].dtype:
            raise UsageError(f"answer: its weights {name!r} have another shape or type than those it was sent")
    return Fitted(client, state, samples, validation, counts)


def decode_fused(body: bytes, client: int, original: State) -> Fitted:
    """The answer to `fusion`, whose `samples` are the client's validation split, perhaps 0; raises UsageError."""
    fitted = decode_fitted(body, client, original, 0)
    if fitted.samples and not {"loss", "accuracy"} <= fitted.validation.keys():
        raise UsageError("answer: it has no loss and accuracy")
    return fitted


@torch.no_grad()
def probe(architecture: str, schema: Schema, state: State) -> None:
    """Raise UsageError unless the weights fit the classifier and give finite outputs.

    One client with non-finite outputs would spoil the average of all.
    """
    model = load_network(architecture, schema, state, "answer")
    images = example_inputs(schema.fields, 2, lambda shape: torch.linspace(-1, 1, math.prod(shape)).view(*shape))
    if not bool(model(images).isfinite().all()):
        raise UsageError("answer: its weights give non-finite outputs")


def decode_contribution(body: bytes, client: int, schema: Schema) -> Contribution:
    """The contribution of `client` with the schema `schema`; raises UsageError for anything else."""
    contribution = Contribution.from_bytes(body, f"contribution of client {client}", schema)
    if contribution.client != client:
        raise UsageError(f"it is the contribution of client {contribution.client}")
    return contribution


def _are_counts(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= MAX_COUNT)).all())
