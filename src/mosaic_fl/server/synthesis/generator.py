"""The server's generator, one that is kept or a new one for each batch, its latents and labels, and its steps."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mosaic_fl.config import SynthesisConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import Generator, GeneratorSpec, build
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.server.synthesis.upsampling import UpsamplingGenerator
from mosaic_fl.training.loop import StepTaken, descend
from mosaic_fl.training.steps import PlainStep

BETAS = (0.5, 0.999)  # of Adam, as DCGAN's (Radford, Metz & Chintala 2016)


def synthesis_spec(settings: SynthesisConfig) -> GeneratorSpec:
    """The generator that the server keeps: a `cdcgan` of `settings.latent` and `settings.width`."""
    return GeneratorSpec("cdcgan", settings.latent, settings.width)


def new_generator(schema: Schema, settings: SynthesisConfig, stream: Stream) -> Generator:
    """The generator of `synthesis_spec`, initialised from `stream`, on the CPU, in train mode."""
    with stream.ambient():
        return build(synthesis_spec(settings), schema)


def adam(generator: nn.Module, settings: SynthesisConfig) -> torch.optim.Adam:
    """The generator's optimiser."""
    return torch.optim.Adam(generator.parameters(), lr=settings.lr, betas=BETAS, fused=True)


def draw(
    settings: SynthesisConfig, shares: Tensor, rng: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """z (`settings.batch_size`, latent) standard normal and labels int64 with probabilities ∝ `shares` (C,) ≥ 0.

    `shares` = Σ_k n_k[c] draws classes as often as the clients hold them, its `> 0` draws those they hold evenly. Drawn
    on the CPU, for the same numbers on any `device`.
    """
    n = settings.batch_size
    z = torch.randn(n, settings.latent, generator=rng)
    return z.to(device), torch.multinomial(shares.float(), n, replacement=True, generator=rng).to(device)


def improve(
    generator: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Callable[[], tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    steps: int,
) -> float:
    """`steps` steps of the generator down `loss(images, z, labels)`; returns the last loss, 0 without steps.

    `batch()` gives each step's (z, labels), the same ones or new ones, on the generator's device; `images` are float
    (n, channels, height, width) in −1..1.
    """
    generator.train()
    losses = [torch.zeros(())]

    def loss_of_step(_: int) -> Tensor:
        z, labels = batch()
        return loss(generator(z, labels), z, labels)

    def keep_latest(taken: StepTaken) -> bool:
        losses[:] = [taken.loss.detach()]
        return False

    descend(loss_of_step, PlainStep(optimiser), steps, [keep_latest])
    return float(losses[0])


def fit_batch(
    schema: Schema,
    settings: SynthesisConfig,
    stream: Stream,
    batch: tuple[Tensor, Tensor],
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> tuple[Tensor, float]:
    """The images of a new G(z) after `settings.generator_steps` steps on one `batch` (z, labels), and its last loss.

    DENSE's and Co-Boosting's data generation: G does not see the labels, so that for each z it has to find an image of
    the label that goes with it.
    """
    with stream.ambient():
        generator = UpsamplingGenerator(settings.latent, settings.width, schema).to(batch[0].device)
    value = improve(generator, adam(generator, settings), lambda: batch, loss, settings.generator_steps)
    with torch.no_grad():
        return generator(*batch), value
