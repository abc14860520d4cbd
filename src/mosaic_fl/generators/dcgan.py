"""`dcgan` and `cdcgan`: the paper's GAN (Radford, Metz & Chintala 2016), unconditional and class-conditional.

It differs from that paper in two points, both measured on digits and MNIST. Either end has one more 3×3 convolution at
full resolution. Group norm with one group (Ba, Kiros & Hinton 2016) replaces batch norm: it is equally good in the
generator and better in the discriminator, and makes every sample independent of its batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator, GeneratorSpec, central
from mosaic_fl.generators.family import Family
from mosaic_fl.generators.frozen import frozen
from mosaic_fl.generators.losses import (
    BatchStatistics,
    adversarial_discriminator,
    adversarial_generator,
    diversity,
    entropy,
)
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.batches import batches
from mosaic_fl.training.hooks import average, every, progress, require_finite
from mosaic_fl.training.loop import StepTaken, descend
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import averaged
from mosaic_fl.training.steps import PlainStep

SMALLEST_MAP = 4  # pixels a side where the generator starts and the discriminator ends, roughly
WIDEST = 8  # most channels, in base widths
INIT = 0.02  # standard deviation of all weights, as in the paper
SLOPE = 0.2  # of the leaky ReLU below 0, as in the paper


def _doublings(schema: Schema) -> int:
    """Doublings from the smallest map to the image, at least one."""
    doublings = 1
    while min(schema.shape[1:]) > SMALLEST_MAP * 2**doublings:
        doublings += 1
    return doublings


def _initialise(module: nn.Module) -> None:
    # Embeddings too: with N(0, 1) labels are as large as z, and the generator learns to ignore z (measured).
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, INIT)
        if not isinstance(module, nn.Embedding) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _norm_layers(channels: int, activation: nn.Module) -> list[nn.Module]:
    return [nn.GroupNorm(1, channels), activation]


class DCGANGenerator(Generator):
    """A linear layer, then transposed convolutions of stride 2, norm and ReLU; a 3×3 convolution and tanh at the end.

    Channels halve as the map doubles, down to `spec.width` at the image's size, which is then cropped centrally. The
    conditional one joins an embedding of the label, of the latent's size, to z.
    """

    opens = True

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        self.spec = spec
        self.shape = schema.shape
        self.conditional = spec.family == "cdcgan"
        doublings = _doublings(schema)
        self.start = tuple(-(-side // 2**doublings) for side in schema.shape[1:])
        channels = [spec.width * min(2**i, WIDEST) for i in reversed(range(doublings + 1))]
        self.embed = nn.Embedding(schema.num_classes, spec.latent) if self.conditional else None
        inputs = spec.latent * (2 if self.conditional else 1)
        self.enter = nn.Linear(inputs, channels[0] * self.start[0] * self.start[1], bias=False)
        layers = _norm_layers(channels[0], nn.ReLU())
        for before, after in pairwise(channels):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), *_norm_layers(after, nn.ReLU())]
        self.body = nn.Sequential(*layers, nn.Conv2d(channels[-1], schema.shape[0], 3, padding=1), nn.Tanh())
        self.apply(_initialise)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        if self.embed is not None:
            z = torch.cat([z, self.embed(labels)], 1)
        images: Tensor = self.body(self.enter(z).view(len(z), -1, *self.start))
        return central(images, *self.shape[1:])


class Discriminator(nn.Module):
    """The generator's mirror image: a 3×3 convolution, then convolutions of stride 2, norm and leaky ReLU.

    The conditional one is a projection discriminator (Miyato & Koyama 2018): with features h and the label's
    embedding e_y, its logit is w·h + b + e_y·h. It never leaves the client.
    """

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        super().__init__()
        (channels, height, width) = schema.shape
        out = spec.width
        layers: list[nn.Module] = [nn.Conv2d(channels, out, 3, padding=1), nn.LeakyReLU(SLOPE)]
        for i in range(_doublings(schema)):
            channels = out
            out = spec.width * min(2 ** (i + 1), WIDEST)
            # a single pixel is not halved
            tall = int(height > 1)
            wide = int(width > 1)
            halve = nn.Conv2d(channels, out, (1 + 3 * tall, 1 + 3 * wide), (1 + tall, 1 + wide), (tall, wide))
            layers += [halve, *_norm_layers(out, nn.LeakyReLU(SLOPE))]
            height = max(1, height // 2)
            width = max(1, width // 2)
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = out * height * width
        self.head = nn.Linear(features, 1)
        self.embed = nn.Embedding(schema.num_classes, features) if spec.family == "cdcgan" else None
        self.apply(_initialise)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Logits (n,): real is positive."""
        features: Tensor = self.body(images)
        logits: Tensor = self.head(features).flatten()
        return logits if self.embed is None else logits + (self.embed(labels) * features).sum(1)


BETAS = (0.5, 0.999)  # Adam's, from the DCGAN paper
AVERAGED_STEPS = 100  # about how many steps the averaged generator looks back over, at most a tenth of them
LOG_EVERY = 50
NO_TERM = "no term of the generator's loss has a weight: set generator.adversarial = 1.0"


def train_gan(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> DCGANGenerator:
    """A generator of `config.family` (dcgan or cdcgan) fitted to `data`, on the CPU in eval mode.

    Minimises adversarial·L_adv + entropy·L_ent + diversity·L_div + inversion·L_inv, the last only with fewer than
    `inversion_below` samples. A term of weight 0 is not computed, and without L_adv no discriminator is trained. Fake
    labels come from the client's own class distribution. The result is the moving average of the generator's weights
    (Yazıcı et al. 2019): its Fréchet distance is 14 to 52 % lower on digits. `expert` is frozen in eval mode during the
    training. Raises UsageError where no term has a weight, MosaicError where a loss is no longer finite.
    """
    spec = GeneratorSpec(config.family, config.latent, config.width)
    with stream.ambient():
        generator = DCGANGenerator(spec, data.schema).to(device)
        judge = Discriminator(spec, data.schema).to(device)
    smooth = averaged(generator, 1 - 1 / max(1, min(AVERAGED_STEPS, config.steps // 10)))
    rng = stream.torch()
    draw = batches(len(data), config.batch_size, rng)
    values = data.samples.only.to(device)
    labels = data.labels.to(device)
    step_generator, step_judge = (
        PlainStep(torch.optim.Adam(network.parameters(), lr=config.lr, betas=BETAS, fused=True))
        for network in (generator, judge)
    )
    if expert is None:
        raise UsageError("a DCGAN learns from the gradients of its client's classifier, and there is none")
    with frozen(expert, device), BatchStatistics(expert) as statistics:
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

        def look(state: StepTaken) -> bool:
            values = {name: term.item() for name, term in figures.items()}
            for name, value in values.items():
                way_out = f"lower generator.lr (now {config.lr})"
                require_finite(f"the generator's {name} term", value, state.step, way_out)
            monitor.log(state.step, **values)
            return False

        hooks = [average(smooth, generator), progress(monitor), every(LOG_EVERY, look, from_first=True)]
        descend(loss, step_generator, config.steps, hooks)
    generator.load_state_dict(smooth.module.state_dict())
    return generator.cpu().eval()


def check_terms(config: GeneratorConfig, samples: int, schema: Schema, expert: nn.Module | None) -> None:
    """Raise UsageError where no term has a weight for a client of `samples` training samples with this classifier."""
    if expert is None:
        return
    inversion = config.inversion if BatchStatistics(expert).layers and samples < config.inversion_below else 0.0
    if not (config.adversarial or config.entropy or config.diversity or inversion):
        raise UsageError(NO_TERM)


@dataclass(frozen=True)
class _Terms:
    """The weighted terms that the client's classifier gives, over the `classes` of which the client has samples."""

    expert: nn.Module
    statistics: BatchStatistics
    classes: Tensor
    config: GeneratorConfig
    samples: int

    @property
    def inversion(self) -> float:
        """The weight of L_inv: 0 for a client with enough data, and for an expert without batch-norm statistics."""
        return self.config.inversion if self.statistics.layers and self.samples < self.config.inversion_below else 0.0

    @property
    def asks_expert(self) -> bool:
        """Whether any term here has a weight."""
        return bool(self.config.entropy or self.config.diversity or self.inversion)

    def of(self, fake: Tensor) -> dict[str, Tensor]:
        """Each term that has a weight, by name."""
        if not self.asks_expert:
            return {}
        # Without the classes that the client lacks: samples of these would make neither term better.
        logits = self.expert(fake)[:, self.classes]
        terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "entropy": (self.config.entropy, lambda: entropy(logits)),
            "diversity": (self.config.diversity, lambda: diversity(logits)),
            "inversion": (self.inversion, self.statistics.loss),
        }
        return {name: weight * term() for name, (weight, term) in terms.items() if weight}


UNCONDITIONAL = Family(
    conditional=False,
    kinds=frozenset({"image"}),
    build=DCGANGenerator,
    train=train_gan,
    check=check_terms,
    learns_from_expert=True,
)
CONDITIONAL = replace(UNCONDITIONAL, conditional=True)
