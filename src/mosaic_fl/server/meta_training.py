"""Training of the meta model on labelled synthetic samples (METHOD: pipeline step 4, lesson 2)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.config import MetaConfig
from mosaic_fl.monitor import Monitor
from mosaic_fl.optimisation import adamw, averaged, batches, copy_state, cosine
from mosaic_fl.randomness import Stream
from mosaic_fl.server.meta import build_meta

CHECKS = 20  # looks at the hold-out in one training


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
        model = build_meta(weights, config).to(device)
    rng = Stream(seed, "meta").torch()
    order = torch.randperm(len(labels), generator=rng)
    cut = max(1, round(config.holdout * len(labels)))
    held, rest = order[:cut], order[cut:] if cut < len(labels) else order
    x, y = outputs.to(device), labels.to(device)
    average = averaged(model, config.ema) if config.ema else None
    candidate = average.module if average else model
    optimiser, draw = adamw(model.parameters(), config), batches(len(rest), config.batch_size, rng)
    schedule = cosine(optimiser, config.steps)
    every = max(1, config.steps // CHECKS)
    best, best_state = _loss(candidate, x[held], y[held]), copy_state(candidate)
    monitor.log(-1, holdout_loss=best)
    for step in range(config.steps):
        index = rest[next(draw)]
        loss = F.cross_entropy(model(x[index]), y[index])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if average:
            average.update_parameters(model)
        monitor.progress(step + 1, config.steps)
        if (step + 1) % every == 0:
            held_loss = _loss(candidate, x[held], y[held])
            monitor.log(step, loss=loss.item(), holdout_loss=held_loss)
            if held_loss < best and math.isfinite(held_loss):
                best, best_state = held_loss, copy_state(candidate)
    model.load_state_dict(best_state)
    return model.cpu().eval()


@torch.no_grad()
def _loss(model: nn.Module, outputs: Tensor, labels: Tensor) -> float:
    return float(F.cross_entropy(model(outputs), labels))


@torch.no_grad()
def meta_log_probabilities(model: nn.Module, outputs: Tensor, batch: int = 4096) -> Tensor:
    """Log-probabilities (n, C) of the meta model for expert logits (n, K, C), on the CPU."""
    return torch.cat([model(part).log_softmax(1) for part in outputs.split(batch)])
