"""Training of the paper's GAN on a client's data, with its classifier as a second judge (docs/method.md, step 2)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
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
from mosaic_fl.randomness import Stream
from mosaic_fl.training.batches import batches
from mosaic_fl.training.hooks import average, every, progress, require_finite
from mosaic_fl.training.loop import StepTaken, descend
from mosaic_fl.training.optimisers import averaged
from mosaic_fl.training.steps import PlainStep

BETAS = (0.5, 0.999)  # Adam's, from the DCGAN paper
AVERAGED_STEPS = 100  # about how many steps the averaged generator looks back over, at most a tenth of them
LOG_EVERY = 50
NO_TERM = "no term of the generator's loss has a weight: set generator.adversarial = 1.0"


def train_gan(
    data: Dataset,
    expert: Classifier,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> DCGANGenerator:
    """A generator of `config.family` (dcgan or cdcgan) fitted to `data`, on the CPU in eval mode.

    Minimises adversarial·L_adv + entropy·L_ent + diversity·L_div + inversion·L_inv, the last only with fewer than
    `inversion_below` samples; a term of weight 0 is not computed, and without L_adv there is no discriminator. Fake
    labels come from the client's own class distribution. What comes back is the moving average of the generator's
    weights (Yazıcı et al. 2019): a Fréchet distance 14 to 52 % lower on digits. `expert` is frozen in eval mode
    meanwhile. Raises UsageError where no term has a weight, MosaicError where a loss is no longer finite.
    """
    spec = GeneratorSpec(config.family, config.latent, config.width)
    with stream.ambient():
        generator, judge = DCGANGenerator(spec, data.schema).to(device), Discriminator(spec, data.schema).to(device)
    smooth = averaged(generator, 1 - 1 / max(1, min(AVERAGED_STEPS, config.steps // 10)))
    rng = stream.torch()
    draw = batches(len(data), config.batch_size, rng)
    values, labels = data.samples.only.to(device), data.labels.to(device)
    step_generator, step_judge = (
        PlainStep(torch.optim.Adam(network.parameters(), lr=config.lr, betas=BETAS, fused=True))
        for network in (generator, judge)
    )
    with _frozen(expert, device), BatchStatistics(expert) as statistics:
        terms = _Terms(expert, statistics, data.class_counts().nonzero().flatten().to(device), config, len(data))
        if not (config.adversarial or terms.asks_expert):
            raise UsageError(NO_TERM)
        figures: dict[str, Tensor] = {}  # of the latest step

        def loss(_: int) -> Tensor:
            # Always a whole batch of fakes: they cost no data, and the terms below are averages over them.
            z = torch.randn(config.batch_size, config.latent, generator=rng).to(device)
            fake_labels = labels[torch.randint(len(data), (config.batch_size,), generator=rng).to(device)]
            fake = generator(z, fake_labels)
            parts = terms.of(fake)
            if config.adversarial:
                index = next(draw).to(device)
                real = judge(data.schema.kind.to_network(values[index]), labels[index])
                figures["discriminator"] = adversarial_discriminator(real, judge(fake.detach(), fake_labels))
                step_judge(figures["discriminator"])
                parts["adversarial"] = config.adversarial * adversarial_generator(judge(fake, fake_labels))
            figures.update(parts)
            return torch.stack(list(parts.values())).sum()

        def look(taken: StepTaken) -> bool:
            values = {name: term.item() for name, term in figures.items()}
            for name, value in values.items():
                way_out = f"lower generator.lr (now {config.lr})"
                require_finite(f"the generator's {name} term", value, taken.step, way_out)
            monitor.log(taken.step, **values)
            return False

        hooks = [average(smooth, generator), progress(monitor), every(LOG_EVERY, look, from_first=True)]
        descend(loss, step_generator, config.steps, hooks)
    generator.load_state_dict(smooth.module.state_dict())
    return generator.cpu().eval()


def check_terms(config: GeneratorConfig, samples: int, expert: Classifier) -> None:
    """Raise UsageError where no term has a weight for a client of `samples` training samples with this classifier."""
    inversion = config.inversion if BatchStatistics(expert).layers and samples < config.inversion_below else 0.0
    if not (config.adversarial or config.entropy or config.diversity or inversion):
        raise UsageError(NO_TERM)


@dataclass(frozen=True)
class _Terms:
    """The weighted terms for which the client's own classifier is asked, over the classes that the client holds."""

    expert: Classifier
    statistics: BatchStatistics
    held: Tensor
    config: GeneratorConfig
    samples: int

    @property
    def inversion(self) -> float:
        """The weight of L_inv here: 0 for a client with enough data, or an expert that remembers no statistics."""
        return self.config.inversion if self.statistics.layers and self.samples < self.config.inversion_below else 0.0

    @property
    def asks_expert(self) -> bool:
        """Whether any term here has a weight."""
        return bool(self.config.entropy or self.config.diversity or self.inversion)

    def of(self, fake: Tensor) -> dict[str, Tensor]:
        """Each term that has a weight, by name."""
        if not self.asks_expert:
            return {}
        # A class the client lacks is no way to be confident, or diverse.
        logits = self.expert(fake)[:, self.held]
        weighed: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "entropy": (self.config.entropy, lambda: entropy(logits)),
            "diversity": (self.config.diversity, lambda: diversity(logits)),
            "inversion": (self.inversion, self.statistics.loss),
        }
        return {name: weight * term() for name, (weight, term) in weighed.items() if weight}


@contextmanager
def _frozen(expert: Classifier, device: torch.device) -> Iterator[None]:
    """`expert` on `device`, in eval mode and without gradients of its own; as it was, on the CPU, afterwards."""
    modes = [(module, module.training) for module in expert.modules()]
    learning = [p.requires_grad for p in expert.parameters()]
    expert.to(device).eval().requires_grad_(False)
    try:
        yield
    finally:
        for parameter, required in zip(expert.parameters(), learning, strict=True):
            parameter.requires_grad_(required)
        for module, training in modes:
            module.training = training
        expert.cpu()
