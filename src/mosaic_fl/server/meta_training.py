"""Training of the meta model on labelled synthetic samples (docs/method.md, step 4 and lesson 2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.config import MetaConfig
from mosaic_fl.notes import note
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.experts import readers
from mosaic_fl.server.meta import MetaTransformer
from mosaic_fl.training.batches import batches
from mosaic_fl.training.descent import can_be_captured, descend_on
from mosaic_fl.training.hooks import BestWeights, average, every, progress, schedule
from mosaic_fl.training.loop import StepTaken
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import adamw, averaged, cosine
from mosaic_fl.training.steps import PlainStep

CHECKS = 20  # looks at the hold-out in one training
LARGEST = 2**29  # bytes of the outputs that it learns from


def most_samples(experts: int, classes: int) -> int:
    """How many samples a meta model can learn from: so many experts' outputs on them fill `LARGEST` bytes."""
    return max(1, LARGEST // (4 * experts * classes))


def few_enough(samples: int, weights: Tensor) -> int:
    """`samples`, or fewer with a note where experts and classes, the shape of `weights`, are too many for them."""
    most = most_samples(*weights.shape)
    if samples > most:
        experts, classes = weights.shape
        note(
            f"the meta model learns from {most:,} samples, not {samples:,}: the outputs of {experts:,} experts for "
            f"{classes:,} classes on them fill {LARGEST // 2**20} MiB"
        )
    return min(samples, most)


def train_meta(
    outputs: Tensor,
    labels: Tensor,
    weights: Tensor,
    config: MetaConfig,
    seed: int,
    device: torch.device,
    monitor: Monitor,
) -> nn.Module:
    """A meta model fitted to expert logits `outputs` (n, K, C) of samples with `labels` (n,); `weights` (K, C).

    A share of the samples is held out; the (averaged) weights with the least cross-entropy there are kept, the
    untrained model, that is the class-weighted ensemble, among the candidates. On the CPU in eval mode.
    """
    with Stream(seed, "meta-init").ambient():
        model = MetaTransformer(weights, config).to(device)
    model.partial = readers(outputs) is not None
    rng = Stream(seed, "meta").torch()
    order = torch.randperm(len(labels), generator=rng)
    cut = max(1, round(config.holdout * len(labels)))
    holdout = order[:cut]
    rest = order[cut:] if cut < len(labels) else order
    x = outputs.to(device)
    y = labels.to(device)
    smooth = averaged(model, config.ema) if config.ema else None
    best = BestWeights(smooth.module if smooth else model)
    optimiser = adamw(model.parameters(), config)
    picks = batches(len(rest), config.batch_size, rng)

    def draw(_: int) -> tuple[Tensor]:
        return (rest[next(picks)],)

    def loss(index: Tensor) -> Tensor:
        return F.cross_entropy(model(x[index]), y[index])

    def look(taken: StepTaken) -> bool:
        holdout_loss = _loss(best.candidate, x[holdout], y[holdout])
        monitor.log(taken.step, loss=taken.loss.item(), holdout_loss=holdout_loss)
        return best.offer(holdout_loss)

    best.offer(_loss(best.candidate, x[holdout], y[holdout]))
    monitor.log(-1, holdout_loss=best.loss)
    hooks = [schedule(cosine(optimiser, config.steps)), *([average(smooth, model)] if smooth else [])]
    hooks += [progress(monitor), every(max(1, config.steps // CHECKS), look, last=False)]
    descend_on(
        device,
        draw,
        loss,
        PlainStep(optimiser),
        config.steps,
        hooks,
        precision="float32",
        capturable=can_be_captured(model),
    )
    best.load_into(model)
    return model.cpu().eval()


@torch.no_grad()
def _loss(model: nn.Module, outputs: Tensor, labels: Tensor) -> float:
    return float(F.cross_entropy(model(outputs), labels))


@torch.no_grad()
def meta_log_probabilities(model: nn.Module, outputs: Tensor) -> Tensor:
    """Log-probabilities (n, C) of the meta model for expert logits (n, K, C), on the CPU."""
    logits: Tensor = model(outputs)
    return logits.log_softmax(1)
