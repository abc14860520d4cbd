"""A client's part of FENS: it trains an aggregator of all experts' outputs on its validation samples."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import MetaConfig
from mosaic_fl.errors import MosaicError
from mosaic_fl.models.fusion import Aggregator
from mosaic_fl.models.inference import accuracy
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.batches import batches
from mosaic_fl.training.hooks import progress
from mosaic_fl.training.loop import descend
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import adamw
from mosaic_fl.training.steps import PlainStep


def train_aggregator(
    aggregator: Aggregator,
    outputs: Tensor,
    labels: Tensor,
    config: MetaConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> dict[str, float]:
    """Train in place on expert logits `outputs` (n, K, C) of n ≥ 1 samples with `labels` (n,); returns its figures.

    `config.steps` steps, or one pass where that is 0, of AdamW at a constant rate. The figures, `samples`, `loss` in
    nats and `accuracy` in 0..1, are those on the samples it has just learnt from. It ends on the CPU in eval mode.
    Raises MosaicError where the loss is no longer finite.
    """
    steps = config.steps or math.ceil(len(labels) / config.batch_size)
    x = outputs.to(device)
    y = labels.to(device)
    optimiser = adamw(aggregator.to(device).train().parameters(), config)
    draw = batches(len(labels), config.batch_size, stream.torch())

    def loss(_: int) -> Tensor:
        index = next(draw).to(device)
        return F.cross_entropy(aggregator(x[index]), y[index])

    descend(loss, PlainStep(optimiser), steps, [progress(monitor)])
    with torch.no_grad():
        logits = aggregator.eval()(x).cpu()
    aggregator.cpu()
    after = float(F.cross_entropy(logits, labels))
    if not math.isfinite(after):
        raise MosaicError(f"the aggregator's loss is {after}: training diverged; lower meta.lr (now {config.lr})")
    return {"samples": len(labels), "loss": after, "accuracy": accuracy(logits, labels)}
