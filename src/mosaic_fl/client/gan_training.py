"""Training of the paper's GAN on a client's data, with its classifier as a second judge (METHOD: pipeline step 2)."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.data.dataset import ImageData, to_float
from mosaic_fl.errors import MosaicError
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.dcgan import DCGANGenerator, Discriminator
from mosaic_fl.generators.losses import (
    BatchStatistics,
    adversarial_discriminator,
    adversarial_generator,
    diversity,
    entropy,
)
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.monitor import Monitor
from mosaic_fl.optimisation import batches
from mosaic_fl.randomness import Stream

BETAS = (0.5, 0.999)  # Adam's, from the DCGAN paper
LOG_EVERY = 100


def train_gan(
    data: ImageData,
    expert: Classifier,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> DCGANGenerator:
    """A generator of `config.family` (dcgan or cdcgan) fitted to `data`, on the CPU in eval mode.

    Minimises adversarial·L_adv + entropy·L_ent + diversity·L_div + inversion·L_inv, the last only with fewer than
    `inversion_below` samples; a term of weight 0 is not computed. Fake labels come from the client's own class
    distribution. `expert` is frozen in eval mode meanwhile. Raises MosaicError where a loss is no longer finite.
    """
    spec = GeneratorSpec(config.family, config.latent, config.width)
    with stream.ambient():
        generator, judge = DCGANGenerator(spec, data.schema).to(device), Discriminator(spec, data.schema).to(device)
    rng = stream.torch()
    draw = batches(len(data), config.batch_size, rng)
    images, labels = data.images.to(device), data.labels.to(device)
    optimise_generator, optimise_judge = (
        torch.optim.Adam(network.parameters(), lr=config.lr, betas=BETAS, fused=True) for network in (generator, judge)
    )
    # At least two fakes, for the generator's batch norm.
    fakes = max(2, min(config.batch_size, len(data)))
    with _frozen(expert, device), BatchStatistics(expert) as statistics:
        terms = _Terms(expert, statistics, data.class_counts().nonzero().flatten().to(device), config, len(data))
        for step in range(config.steps):
            index = next(draw).to(device)
            z = torch.randn(fakes, config.latent, generator=rng).to(device)
            fake_labels = labels[torch.randint(len(data), (fakes,), generator=rng).to(device)]
            fake = generator(z, fake_labels)

            judged = judge(to_float(images[index]), labels[index])
            judge_loss = adversarial_discriminator(judged, judge(fake.detach(), fake_labels))
            optimise_judge.zero_grad(set_to_none=True)
            judge_loss.backward()
            optimise_judge.step()

            parts = terms.of(fake)
            if config.adversarial:
                parts["adversarial"] = config.adversarial * adversarial_generator(judge(fake, fake_labels))
            if parts:
                optimise_generator.zero_grad(set_to_none=True)
                loss: Tensor = torch.stack(list(parts.values())).sum()
                loss.backward()
                optimise_generator.step()
            monitor.progress(step + 1, config.steps)
            if step % LOG_EVERY == 0 or step + 1 == config.steps:
                figures = {name: term.item() for name, term in parts.items()} | {"discriminator": judge_loss.item()}
                _require_finite(figures, step, config.lr)
                monitor.log(step, **figures)
    return generator.cpu().eval()


@dataclass(frozen=True)
class _Terms:
    """The weighted terms for which the client's own classifier is asked, over the classes that the client holds."""

    expert: Classifier
    statistics: BatchStatistics
    held: Tensor
    config: GeneratorConfig
    samples: int

    def of(self, fake: Tensor) -> dict[str, Tensor]:
        """Each term that has a weight, by name."""
        config = self.config
        inversion = config.inversion if self.samples < config.inversion_below else 0.0
        if not (config.entropy or config.diversity or inversion):
            return {}
        # A class the client lacks is no way to be confident, or diverse.
        logits = self.expert(fake)[:, self.held]
        weighed: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "entropy": (config.entropy, lambda: entropy(logits)),
            "diversity": (config.diversity, lambda: diversity(logits)),
            "inversion": (inversion, self.statistics.loss),
        }
        return {name: weight * term() for name, (weight, term) in weighed.items() if weight}


@contextmanager
def _frozen(expert: Classifier, device: torch.device) -> Iterator[None]:
    """`expert` on `device`, in eval mode and without gradients of its own; as it was, on the CPU, afterwards."""
    was_training, learning = expert.training, [p.requires_grad for p in expert.parameters()]
    expert.to(device).eval().requires_grad_(False)
    try:
        yield
    finally:
        for parameter, required in zip(expert.parameters(), learning, strict=True):
            parameter.requires_grad_(required)
        expert.cpu().train(was_training)


def _require_finite(figures: dict[str, float], step: int, lr: float) -> None:
    for name, value in figures.items():
        if not math.isfinite(value):
            raise MosaicError(f"the generator's {name} term is {value} at step {step}: lower generator.lr ({lr})")
