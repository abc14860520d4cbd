"""A `cvae` under differential privacy: steps of DP-SGD, then noisy moments of the latents in place of exact ones."""

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.cvae import Decoder, Encoder, evidence_loss, posteriors
from mosaic_fl.generators.density import ClassMixture, Mixture
from mosaic_fl.generators.frozen import frozen
from mosaic_fl.generators.perceptual import LayerOutputs
from mosaic_fl.numerics.noisy_sums import Mechanism, NoisySums, release, repaired
from mosaic_fl.numerics.placement import bring_back, settle
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.hooks import average, progress, schedule
from mosaic_fl.training.loop import descend
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import averaged, cosine
from mosaic_fl.training.private import Descent, PrivateStep, drawn, summed

FAMILY = "cvae"
CLIP = 1.2  # times √latent: the length to which a latent is shortened; those of N(0, 1) have √latent
DECAY = 0.99  # of the moving average of weights
LEAST_VARIANCE = 1e-4


class Autoencoder(nn.Module):
    """Encoder and decoder as one network, so that a sample's gradient is that of both."""

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.decoder = Decoder(spec, schema)
        self.encoder = Encoder(spec, schema)

    def forward(self, images: Tensor, labels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the pixels, and the latents' mean and log-variance, for standard normal `noise` (n, latent)."""
        mean, log_variance = self.encoder(images, labels)
        return self.decoder.pixel_logits(mean + noise * (0.5 * log_variance).exp(), labels), mean, log_variance


@dataclass(frozen=True)
class Latents:
    """How the latents' moments are released: by `mechanism`; the noisy class `counts` (C,) were before, with `noise`.

    `noise` is the standard deviation of a count.
    """

    mechanism: Mechanism
    counts: Tensor
    noise: float


def latent_clip(latent: int) -> float:
    """The length to which latents of so many numbers are shortened: public, and of no sample."""
    return CLIP * math.sqrt(latent)


def train_vae_privately(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    descent: Descent,
    latents: Latents,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> Decoder:
    """A decoder fitted to `data` by the steps of `descent`, on the CPU in eval mode.

    The loss is that of `cvae.train_vae`, with distances of single samples. `expert`, where there is one, learnt
    privately before, so what it sees of a sample costs nothing more. Each class's latents come from one Gaussian, of
    noisy moments.
    """
    spec = GeneratorSpec(FAMILY, config.latent, config.width)
    with stream.ambient():
        network = Autoencoder(spec, data.schema).train()
    settle(network, device)
    rng = stream.torch()
    values = data.samples.only.to(device)
    labels = data.labels.to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.lr, fused=True)
    weight = config.perceptual * math.prod(data.schema.shape)
    layers = LayerOutputs(expert) if expert is not None and weight else None
    mean_network = averaged(network, DECAY)

    def loss(index: Tensor) -> Tensor:
        x = data.schema.kind.to_network(values[index])
        noise = torch.randn(len(index), spec.latent, generator=rng).to(device)
        logits, mean, log_variance = network(x, labels[index], noise)
        total = evidence_loss(logits, x, mean, log_variance, config.kl) * len(index)
        return total if layers is None else total + weight * layers.distances(logits.sigmoid() * 2 - 1, x).sum()

    hooks = [schedule(cosine(optimiser, descent.release.steps)), average(mean_network, network), progress(monitor)]
    rate = descent.release.rate
    with (
        frozen(expert, device) if expert is not None else nullcontext(),
        layers or nullcontext(),
        PrivateStep(network, optimiser, descent) as step,
    ):

        def sample(_: int) -> Tensor:
            return summed(loss, step, drawn(len(data), rate, descent.source).to(device))

        descend(sample, step, descent.release.steps, hooks)
    network.load_state_dict(mean_network.module.state_dict())
    bring_back(network.eval())
    place(network.decoder.density, network.encoder, data, latents, descent, rng)
    return network.decoder


def place(
    density: ClassMixture, encoder: Encoder, data: Dataset, latents: Latents, descent: Descent, rng: torch.Generator
) -> None:
    """Give `density` a Gaussian for each class that stands out of the noise, of noisy moments of its latents.

    Of each sample one latent is drawn, so that its moments are those of the encoder's density, spread and all.
    """
    mean, log_variance = posteriors(encoder, data)
    points = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=rng)
    noisy = release(points, data.labels, data.schema.num_classes, latents.mechanism, descent.source)
    variances = noisy.variances.clone()
    variances[0] = latents.noise**2  # the counts of before are the better ones
    moments = repaired(NoisySums(latents.counts.double(), noisy.sums, noisy.squares, variances))
    covariance = moments.scatter / max(1, moments.total)
    covariance.diagonal().clamp_(min=LEAST_VARIANCE)
    scale = torch.linalg.cholesky(covariance).float()
    mixtures = dict[int, Mixture]()
    for label in torch.nonzero(moments.counts).flatten().tolist():
        mixtures[label] = (torch.ones(1), moments.means[label].float()[None], scale[None])
    density.assign(mixtures)
