"""Training of the class-conditional rectified flow on a client's data."""

import torch
from torch import Tensor

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.generators.flow import FlowGenerator, flow_loss, flow_spec
from mosaic_fl.monitor import Monitor
from mosaic_fl.randomness import Stream
from mosaic_fl.training.batches import batches
from mosaic_fl.training.hooks import average, every, log_generator, progress, schedule
from mosaic_fl.training.loop import descend
from mosaic_fl.training.optimisers import averaged, cosine
from mosaic_fl.training.steps import PlainStep

AVERAGED_STEPS = 1000  # about how many steps the averaged network looks back over, at most a tenth of them
LARGEST_GRADIENT = 1.0  # norm to which gradients are clipped (Ho, Jain & Abbeel 2020, published code)
LOG_EVERY = 100


def train_flow(
    data: Dataset, config: GeneratorConfig, stream: Stream, device: torch.device, monitor: Monitor
) -> FlowGenerator:
    """A flow fitted to `data`, on the CPU in eval mode; `config.latent` does not apply.

    Times are logit-normal, sigmoid(N(0, 1)): the middle of a path is where there is most to learn (Esser et al. 2024,
    section 3.1). What comes back is the moving average of the weights. Raises UsageError where the images are too
    large, MosaicError where the loss is no longer finite.
    """
    with stream.ambient():
        generator = FlowGenerator(flow_spec(data.schema, config.width), data.schema).to(device)
    smooth = averaged(generator, 1 - 1 / max(1, min(AVERAGED_STEPS, config.steps // 10)))
    rng = stream.torch()
    draw = batches(len(data), config.batch_size, rng)
    values, labels = data.samples.only.to(device), data.labels.to(device)
    optimiser = torch.optim.Adam(generator.parameters(), lr=config.lr, fused=True)

    def loss(_: int) -> Tensor:
        index = next(draw).to(device)
        x = data.schema.kind.to_network(values[index])
        noise = torch.randn(x.shape, generator=rng).to(device)
        t = torch.randn(len(x), generator=rng).sigmoid().to(device)
        return flow_loss(generator.velocity, x, noise, t, labels[index])

    look = every(LOG_EVERY, log_generator(monitor, config.lr), from_first=True)
    hooks = [schedule(cosine(optimiser, config.steps)), average(smooth, generator), progress(monitor), look]
    descend(loss, PlainStep(optimiser, LARGEST_GRADIENT), config.steps, hooks)
    generator.load_state_dict(smooth.module.state_dict())
    return generator.cpu().eval()
