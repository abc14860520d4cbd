"""Local training of a classifier under differential privacy: what `training` does, by steps of DP-SGD."""

import warnings

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mosaic_fl.config import TrainConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import example_inputs
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.objective import Objective
from mosaic_fl.experts.training import optimiser_of
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.own import reason
from mosaic_fl.models.registry import build
from mosaic_fl.models.trainable import trainable
from mosaic_fl.numerics.placement import bring_back, settle
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.hooks import average, progress, schedule
from mosaic_fl.training.loop import descend
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import averaged, cosine
from mosaic_fl.training.private import Descent, PrivateStep, drawn, summed
from mosaic_fl.training.single_samples import Followed, unfit

DECAY = 0.99  # of the moving average of weights, which takes noise of single steps away
TRIAL = 3  # samples by which a network is tried
CLOSE = 1e-3  # of the largest gradient, by which sums of gradients may differ


def steps_for_rate(rate: float, config: TrainConfig) -> int:
    """Steps of `config.epochs` passes, each of a share `rate` of the samples, within `min_steps` and `max_steps`."""
    return min(max(round(config.epochs / rate), config.min_steps), config.max_steps)


def train_privately(
    model: Classifier,
    data: Dataset,
    counts: Tensor,
    config: TrainConfig,
    descent: Descent,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> None:
    """Train `model` in place by the steps of `descent`; it ends with the moving average of its weights, on the CPU.

    `counts` (C,) are noisy class counts. Nothing is held back, measured or logged: it would be of private samples
    without noise. Raises UsageError for a network that Opacus cannot take.
    """
    samples = data.samples.to(device)
    labels = data.labels.to(device)
    augmentation = Stream(stream.seed, f"{stream.stage}/augment", stream.client, stream.round).torch()
    settle(model.train(), device)
    objective = Objective(model, counts, config)
    optimiser = optimiser_of(model, config)
    mean = averaged(model, DECAY)

    def loss(index: Tensor) -> Tensor:
        batch = samples[index].varied(config.augment, augmentation)
        return objective.supervised(model(batch.inputs()), labels[index]) * len(index)

    steps = descent.release.steps
    hooks = [schedule(cosine(optimiser, steps))] if config.schedule == "cosine" else []
    hooks += [average(mean, model), progress(monitor)]
    with stream.ambient(), PrivateStep(model, optimiser, descent) as step:  # its randomness is for dropout
        rate = descent.release.rate
        descend(lambda _: summed(loss, step, drawn(len(data), rate, descent.source).to(device)), step, steps, hooks)
    model.load_state_dict(mean.module.state_dict())
    bring_back(model.eval())


def check_private_network(name: str, schema: Schema) -> None:
    """Raise UsageError, before any work, unless the network `name` can learn by gradients of single samples.

    It may not mix the samples of a batch, nor keep statistics of them, as batch norm does; Opacus must know its layers;
    and the gradients of single samples must add up to that of all.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(name, schema).train()
        trainable(model, f"model {name!r}")
        if why := unfit_network(model, schema):
            raise UsageError(f"model {name!r} cannot learn with differential privacy: {why}")


def unfit_network(model: nn.Module, schema: Schema) -> str:
    """Why `model` cannot learn by gradients of single samples, in words; empty where it can."""
    if layer := next((name for name, layer in model.named_modules() if isinstance(layer, _BatchNorm)), None):
        return f"its layer {layer} is a batch norm, which mixes the samples of a batch: take nn.GroupNorm"
    if why := unfit(model):
        return why
    inputs = example_inputs(schema.fields, TRIAL, lambda shape: torch.rand(shape) * 2 - 1)
    labels = torch.arange(TRIAL) % schema.num_classes
    assert isinstance(inputs, Tensor)
    before = [buffer.clone() for buffer in model.buffers()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _trial(model, inputs, labels, before)
    except Exception as error:  # a user's own module may raise anything
        return reason(error)


def _trial(model: nn.Module, inputs: Tensor, labels: Tensor, before: list[Tensor]) -> str:
    """`unfit_network` by some samples, in training mode."""
    changed = inputs.clone()
    changed[1:] = changed[1:].flip(1) * 0.5
    with torch.no_grad():
        first, second = (_seeded(model, batch)[0] for batch in (inputs, changed))
    if not torch.allclose(first, second, rtol=1e-3, atol=1e-4):
        return "what it gives for a sample depends on the other samples of its batch"
    if any(not torch.equal(*pair) for pair in zip(before, model.buffers(), strict=True)):
        return "it keeps statistics of its samples: they would leave without noise"
    nn.functional.cross_entropy(_seeded(model, inputs), labels, reduction="sum").backward()
    learning = [p for p in model.parameters() if p.requires_grad]
    whole = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in learning]
    model.zero_grad(set_to_none=True)
    followed = Followed(model)
    parts = followed.gradients(nn.functional.cross_entropy(_seeded(model, inputs), labels, reduction="sum"))
    followed.close()
    largest = max(float(gradient.abs().max()) for gradient in whole)
    if any(float((a - b.sum(0)).abs().max()) > CLOSE * largest for a, b in zip(whole, parts, strict=True)):
        return "the gradients of single samples do not add up to that of all, as where two layers share weights"
    return ""


def _seeded(model: nn.Module, inputs: Tensor) -> Tensor:
    """The outputs in training mode; dropout draws the same each time."""
    torch.manual_seed(0)
    outputs: Tensor = model(inputs)
    return outputs
