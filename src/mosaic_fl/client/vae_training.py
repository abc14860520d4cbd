"""Training of the class-conditional VAE on a client's data."""

import torch
from torch import Tensor

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.devices import images_at_once
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.cvae import Decoder, Encoder, evidence_loss
from mosaic_fl.monitor import Monitor
from mosaic_fl.randomness import Stream
from mosaic_fl.training.batches import batches
from mosaic_fl.training.hooks import every, log_generator, progress, schedule
from mosaic_fl.training.loop import descend
from mosaic_fl.training.optimisers import cosine
from mosaic_fl.training.steps import PlainStep

LOG_EVERY = 100


def train_vae(
    data: Dataset, config: GeneratorConfig, stream: Stream, device: torch.device, monitor: Monitor
) -> Decoder:
    """A decoder fitted to `data`, on the CPU in eval mode. Raises MosaicError where the loss is no longer finite."""
    spec = GeneratorSpec("cvae", config.latent, config.width)
    with stream.ambient():
        decoder, encoder = Decoder(spec, data.schema).to(device), Encoder(spec, data.schema).to(device)
    rng = stream.torch()
    draw = batches(len(data), config.batch_size, rng)
    values, labels = data.samples.only.to(device), data.labels.to(device)
    optimiser = torch.optim.Adam([*decoder.parameters(), *encoder.parameters()], lr=config.lr, fused=True)

    def loss(_: int) -> Tensor:
        index = next(draw).to(device)
        x = data.schema.kind.to_network(values[index])
        y = labels[index]
        mean, log_variance = encoder(x, y)
        noise = torch.randn(mean.shape, generator=rng).to(device)
        z = mean + noise * (0.5 * log_variance).exp()
        return evidence_loss(decoder.pixel_logits(z, y), x, mean, log_variance, config.kl)

    look = every(LOG_EVERY, log_generator(monitor, config.lr), from_first=True)
    hooks = [schedule(cosine(optimiser, config.steps)), progress(monitor), look]
    descend(loss, PlainStep(optimiser), config.steps, hooks)
    decoder.cpu().eval()
    decoder.density.fit(*_posteriors(encoder.cpu().eval(), data), data.labels, stream.integer())
    return decoder


@torch.no_grad()
def _posteriors(encoder: Encoder, data: Dataset) -> tuple[Tensor, Tensor]:
    """Means and log-variances of q(z | x, y), each (n, latent), of all samples."""
    few = images_at_once("cpu")
    parts = zip(data.samples.split(few), data.labels.split(few), strict=True)
    means, log_variances = zip(*(encoder(samples.inputs(), labels) for samples, labels in parts), strict=True)
    return torch.cat(means), torch.cat(log_variances)
