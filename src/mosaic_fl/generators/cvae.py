"""`cvae`: a class-conditional variational auto-encoder (Kingma & Welling 2014; Sohn, Lee & Yan 2015).

It trains in seconds on a CPU and has no mode collapse with a single class. Only its small decoder is sent. Beside the
pixels it reconstructs what the client's classifier sees of them, where that is a network.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.density import ClassMixture, compact, most_components
from mosaic_fl.generators.family import Family
from mosaic_fl.generators.frozen import frozen
from mosaic_fl.generators.perceptual import Goals, LayerOutputs
from mosaic_fl.generators.stopping import EarlyStop
from mosaic_fl.numerics.devices import images_at_once
from mosaic_fl.numerics.placement import bring_back, settle
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, under
from mosaic_fl.training.batches import batches
from mosaic_fl.training.descent import can_be_captured, descend_on
from mosaic_fl.training.hooks import every, log_generator, progress, schedule
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import cosine
from mosaic_fl.training.steps import PlainStep

DENSITY = "density."  # before the names of the density's tensors
SMALLEST_MAP = 4  # pixels a side at which the decoder starts


def _levels(schema: Schema) -> int:
    """Halvings from the image to a map of `SMALLEST_MAP` to 2·`SMALLEST_MAP` − 1 pixels."""
    levels = 0
    side = min(schema.shape[1:])
    while side >= 2 * SMALLEST_MAP and levels < 3:
        levels = levels + 1
        side = (side + 1) // 2
    return levels


def _map(schema: Schema, levels: int) -> tuple[int, int]:
    _, height, width = schema.shape
    return -(-height // 2**levels), -(-width // 2**levels)


class Doubling(nn.ConvTranspose2d):
    """A transposed convolution whose bias is added by itself where it learns.

    oneDNN's gradient of the bias takes longer than that of the weights: 14 ms for 9 (16 channels, 64×64, AVX2).
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Maps (n, out, 2·height, 2·width) of maps (n, in, height, width)."""
        if self.bias is None or not torch.is_grad_enabled():
            return super().forward(input, output_size)
        maps = F.conv_transpose2d(input, self.weight, None, self.stride, tuple(map(int, self.padding)))
        return maps.add_(self.bias.view(1, -1, 1, 1))


class Decoder(Generator):
    """p(x | z, y): a linear layer, then transposed convolutions that double the map, then a 3×3 convolution.

    Latents do not come from N(0, 1) but from `density`, which has a mixture for each class.
    """

    conditional = True
    opens = True

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.spec = spec
        self.shape = schema.shape
        self.classes = schema.num_classes
        self.density = ClassMixture(self.classes, spec.latent)
        levels = _levels(schema)
        self.start = _map(schema, levels)
        channels = spec.width * 2 ** min(levels, 2)
        self.enter = nn.Linear(spec.latent + self.classes, channels * self.start[0] * self.start[1])
        layers: list[nn.Module] = [nn.ReLU()]
        for _ in range(levels):
            out = max(spec.width, channels // 2)
            layers += [Doubling(channels, out, 4, 2, 1), nn.ReLU()]
            channels = out
        self.body = nn.Sequential(*layers, nn.Conv2d(channels, schema.shape[0], 3, padding=1))

    def pixel_logits(self, z: Tensor, labels: Tensor) -> Tensor:
        """Logits of the pixels' brightness, (n, channels, height, width)."""
        hidden = self.enter(torch.cat([z, F.one_hot(labels, self.classes).to(z.dtype)], 1))
        images: Tensor = self.body(hidden.view(len(z), -1, *self.start))
        return images[..., : self.shape[1], : self.shape[2]]

    def fit_to(self, state: State) -> Self:
        self.density.resize(state.get(f"{DENSITY}share", self.density.share).numel())
        return self

    def expect(self, counts: Sequence[int]) -> Self:
        self.density.resize(1 + sum(map(most_components, counts)))
        return self

    def check(self) -> None:
        self.density.check()

    def place(self, z: Tensor, labels: Tensor) -> Tensor:
        latents: Tensor = self.density(z, labels)
        return latents

    def decode(self, place: Tensor, labels: Tensor) -> Tensor:
        return self.pixel_logits(place, labels).sigmoid() * 2 - 1

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.decode(self.place(z, labels), labels)


class Encoder(nn.Module):
    """q(z | x, y): the decoder's mirror image; it never leaves the client."""

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.classes = schema.num_classes
        levels = _levels(schema)
        channels = schema.shape[0]
        layers: list[nn.Module] = []
        for level in range(max(1, levels)):
            out = spec.width * 2 ** min(level, 2)
            layers += [nn.Conv2d(channels, out, 3, 2 if levels else 1, 1), nn.ReLU()]
            channels = out
        self.body = nn.Sequential(*layers, nn.Flatten())
        height, width = _map(schema, levels)
        self.exit = nn.Linear(channels * height * width + self.classes, 2 * spec.latent)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z, each (n, latent)."""
        hidden = torch.cat([self.body(images), F.one_hot(labels, self.classes).to(images.dtype)], 1)
        mean, log_variance = self.exit(hidden).float().chunk(2, 1)
        return mean, log_variance.clamp(-12, 6)


def evidence_loss(pixel_logits: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor, kl: float) -> Tensor:
    """−ELBO a sample in nats: Bernoulli reconstruction summed over pixels + kl · KL(q(z | x, y) ‖ N(0, 1)).

    `images` in −1..1; Kingma & Welling 2014, equation 10, with the weight of β-VAE (Higgins et al. 2017).
    """
    reconstruction = F.binary_cross_entropy_with_logits(pixel_logits, (images + 1) / 2, reduction="sum")
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
    return (reconstruction + kl * divergence) / len(images)


LOG_EVERY = 100


def train_vae(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
    validation: Dataset | None = None,
) -> Decoder:
    """A decoder fitted to `data`, on the CPU in eval mode.

    Minimises −ELBO + perceptual · values · distance, with the distance of `LayerOutputs` between reconstruction and
    sample, and the number of values of a sample. Without `expert` that term is left out. Its loss on `validation` may
    stop it early: see `stopping`. Raises MosaicError where the loss is no longer finite.
    """
    spec = GeneratorSpec("cvae", config.latent, config.width)
    with stream.ambient():
        decoder = Decoder(spec, data.schema)
        encoder = Encoder(spec, data.schema)
    for part in (decoder, encoder):
        settle(part, device)
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # a third faster on a CPU, too
        for layer in part.body:
            if isinstance(layer, nn.ReLU):
                layer.inplace = True  # its input is needed no more; DP-SGD's hooks do not allow it
    rng = stream.torch()
    order = batches(len(data), config.batch_size, rng)
    values = data.samples.only.to(device)
    labels = data.labels.to(device)
    optimiser = torch.optim.Adam([*decoder.parameters(), *encoder.parameters()], lr=config.lr, fused=True)
    weight = config.perceptual * math.prod(data.schema.shape)
    layers = LayerOutputs(expert) if expert is not None and weight else None

    def inputs(index: Tensor) -> Tensor:
        shown: Tensor = data.schema.kind.to_network(values[index])
        return shown

    def draw(_: int) -> tuple[Tensor, Tensor]:
        index = next(order)
        return index, torch.randn(len(index), spec.latent, generator=rng)

    def objective(x: Tensor, y: Tensor, noise: Tensor, seen: Sequence[Tensor]) -> Tensor:
        mean, log_variance = encoder(x, y)
        pixel_logits = decoder.pixel_logits(mean + noise * (0.5 * log_variance).exp(), y)
        evidence = evidence_loss(pixel_logits, x, mean, log_variance, config.kl)
        if layers is None:
            return evidence
        return evidence + weight * layers.distance_to(pixel_logits.sigmoid() * 2 - 1, seen)

    def loss(index: Tensor, noise: Tensor) -> Tensor:
        return objective(inputs(index), labels[index], noise, goals.at(index) if goals is not None else ())

    def held_loss(held: Dataset) -> Callable[[], Tensor]:
        x = data.schema.kind.to_network(held.samples.only.to(device))
        y = held.labels.to(device)
        noise = torch.randn(len(held), spec.latent, generator=replace(stream, stage=f"{stream.stage}/held").torch())
        fixed = noise.to(device)
        with torch.no_grad():
            seen = layers.of(x) if layers is not None else []
        return lambda: objective(x, y, fixed, seen)

    look = every(LOG_EVERY, log_generator(monitor, config.lr), from_first=True)
    hooks = [schedule(cosine(optimiser, config.steps)), progress(monitor), look]
    with frozen(expert, device) if expert is not None else nullcontext(), layers or nullcontext():
        capturable = layers is None or can_be_captured(layers.model)
        goals = Goals(layers, inputs, len(data)) if layers is not None else None
        update = PlainStep(optimiser)
        stop = EarlyStop(nn.ModuleList([decoder, encoder]), validation, config.patience)
        if stop.samples is not None:
            hooks.append(stop.hook(held_loss(stop.samples), monitor))
        descend_on(device, draw, loss, update, config.steps, hooks, precision=config.precision, capturable=capturable)
        stop.end()
    monitor.progress(config.steps, config.steps)  # it may have stopped early
    bring_back(decoder.eval())
    bring_back(encoder.eval())
    decoder.density.fit(*posteriors(encoder, data), data.labels, stream.integer())
    return decoder


@torch.no_grad()
def posteriors(encoder: Encoder, data: Dataset) -> tuple[Tensor, Tensor]:
    """Means and log-variances of q(z | x, y), each (n, latent), of all samples."""
    few = images_at_once("cpu")
    parts = zip(data.samples.split(few), data.labels.split(few), strict=True)
    means, log_variances = zip(*(encoder(samples.inputs(), labels) for samples, labels in parts), strict=True)
    return torch.cat(means), torch.cat(log_variances)


def _upgrade(state: State) -> State:
    rest = {name: tensor for name, tensor in state.items() if not name.startswith(DENSITY)}
    return rest | {DENSITY + name: tensor for name, tensor in compact(under(DENSITY, state)).items()}


FAMILY = Family(
    conditional=True,
    kinds=frozenset({"image"}),
    build=Decoder,
    train=train_vae,
    train_watched=train_vae,
    fits_density=True,
    upgrade=_upgrade,
)
