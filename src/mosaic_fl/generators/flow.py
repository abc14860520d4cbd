"""`flow`: a class-conditional rectified flow with a small U-Net (Liu, Gong & Liu 2023; Lipman et al. 2023).

Of the families here it draws the best natural images and is the slowest: a sample costs 2 · `SAMPLING_STEPS` passes of
the network. It needs an accelerator, or few pixels.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.generators.base import Generator, GeneratorSpec
from mosaic_fl.generators.family import Family
from mosaic_fl.generators.stopping import EarlyStop
from mosaic_fl.numerics.placement import bring_back, settle
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.batches import batches
from mosaic_fl.training.descent import descend_on
from mosaic_fl.training.hooks import average, every, log_generator, progress, schedule
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import averaged, cosine
from mosaic_fl.training.steps import PlainStep

MAX_FLOW_LATENT = 3 * 64 * 64  # a latent is an image
SAMPLING_STEPS = 8  # of the midpoint method, two evaluations each: on digits 0.012 rms from 48 steps, 4 steps 0.024
SAMPLING_BATCH = 128  # images integrated at once: a U-Net keeps maps at full resolution
SMALLEST_MAP = 4  # least pixels a side of the U-Net's coarsest map, where the image has as many
MOST_HALVINGS = 2
LARGEST_ATTENDED = 8  # most pixels a side of maps with attention: its cost grows with the fourth power
GROUPS = 8  # of group norm, at most
TIME_SCALE = 1000.0  # t in 0..1 is embedded as diffusion steps are, 0..1000 (Ho, Jain & Abbeel 2020)
LONGEST_PERIOD = 10_000.0  # of the sinusoids (Vaswani et al. 2017)


def flow_spec(schema: Schema, width: int) -> GeneratorSpec:
    """The specification of a flow for `schema`: its latent is noise of the image's shape, flattened.

    Raises UsageError where an image has more than `MAX_FLOW_LATENT` values.
    """
    latent = math.prod(schema.shape)
    if latent > MAX_FLOW_LATENT:
        raise UsageError(
            f"generator.family flow makes images of at most {MAX_FLOW_LATENT} values (3×64×64), these have "
            f"{latent} ({'×'.join(map(str, schema.shape))}): set data.image_size = 64, or generator.family = cvae"
        )
    return GeneratorSpec("flow", latent, width)


class FlowGenerator(Generator):
    """x_1 of dx/dt = v(x, t, y) from x_0 = z, the noise, on the straight paths x_t = (1 − t)·noise + t·data."""

    conditional = True

    def __init__(self, spec: GeneratorSpec, schema: Schema) -> None:
        """Raises UsageError where the latent has not the size of an image."""
        super().__init__()
        values = math.prod(schema.shape)
        if spec.latent != values:
            raise UsageError(
                f"a flow's latent is noise of the image's shape: {values} for {'×'.join(map(str, schema.shape))}, "
                f"not {spec.latent}"
            )
        self.spec = spec
        self.shape = schema.shape
        self.velocity: nn.Module = VelocityNet(schema, spec.width)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images (n, channels, height, width), clamped to −1..1; differentiable where gradients are on."""
        x = z.view(-1, *self.shape)
        step = 1 / SAMPLING_STEPS
        for i in range(SAMPLING_STEPS):
            t = torch.full((len(x),), i * step, dtype=x.dtype, device=x.device)
            middle = x + step / 2 * self.velocity(x, t, labels)
            x = x + step * self.velocity(middle, t + step / 2, labels)
        return x.clamp(-1, 1)

    def one_pass(self) -> tuple[nn.Module, tuple[Tensor, ...], int]:
        """As `Generator.one_pass`, for the velocity network."""
        _, (z, labels), _ = super().one_pass()
        return self.velocity, (z.view(-1, *self.shape), z[:, 0], labels), 2 * SAMPLING_STEPS

    def sample(self, labels: Tensor, rng: torch.Generator, batch: int = SAMPLING_BATCH) -> Tensor:
        """As `Generator.sample`, in smaller batches."""
        return super().sample(labels, rng, batch)


class VelocityNet(nn.Module):
    """v(x_t, t, y): a U-Net of up to three resolutions (Ronneberger, Fischer & Brox 2015; Ho, Jain & Abbeel 2020).

    Channels are width, 2·width, 4·width from fine to coarse, with one residual block a resolution down and one up.
    Sides that do not halve evenly are padded, and the result is cropped.
    """

    def __init__(self, schema: Schema, width: int) -> None:
        super().__init__()
        (channels, *sides) = schema.shape
        levels = _halvings(schema)
        self.multiple = 2**levels
        widths = [width * 2**level for level in range(levels + 1)]
        self.width = width
        condition = 4 * width
        self.time = nn.Sequential(nn.Linear(2 * width, condition), nn.SiLU(), nn.Linear(condition, condition))
        self.embed = nn.Embedding(schema.num_classes, condition)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        self.coarser = nn.ModuleList()
        self.finer = nn.ModuleList()
        self.up = nn.ModuleList()
        for here, below in pairwise(widths):
            self.down.append(Block(here, here, condition))
            self.coarser.append(nn.Conv2d(here, below, 3, 2, 1))
            self.finer.insert(0, nn.Conv2d(below, here, 3, padding=1))
            self.up.insert(0, Block(2 * here, here, condition))
        deepest = widths[-1]
        attends = max(-(-side // self.multiple) for side in sides) <= LARGEST_ATTENDED
        self.before = Block(deepest, deepest, condition)
        self.after = Block(deepest, deepest, condition)
        self.attention = Attention(deepest) if attends else nn.Identity()
        self.exit = nn.Sequential(_norm(width), nn.SiLU(), _silent(nn.Conv2d(width, channels, 3, padding=1)))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Velocities of the shape of `x` (n, channels, height, width), for times `t` (n,) in 0..1."""
        height, width = x.shape[2:]
        condition = F.silu(self.time(sinusoids(t, self.width)) + self.embed(labels))
        if height % self.multiple or width % self.multiple:
            x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), "replicate")
        hidden = self.enter(x)
        skips = list[Tensor]()
        for block, coarser in zip(self.down, self.coarser, strict=True):
            skips.append(block(hidden, condition))
            hidden = coarser(skips[-1])
        hidden = self.after(self.attention(self.before(hidden, condition)), condition)
        for finer, block in zip(self.finer, self.up, strict=True):
            # The convolution comes first, at the coarse resolution: a quarter of the work.
            hidden = F.interpolate(finer(hidden), scale_factor=2.0)
            hidden = block(torch.cat([hidden, skips.pop()], 1), condition)
        velocity: Tensor = self.exit(hidden)
        return velocity[..., :height, :width]


class Block(nn.Module):
    """x + branch(x): norm, SiLU, convolution, twice; the condition scales and shifts the second norm's output.

    The adaptive group norm of Dhariwal & Nichol 2021 (section 3.1).
    """

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.first = nn.Sequential(_norm(inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.modulate = nn.Linear(condition, 2 * outputs)
        self.norm = _norm(outputs)
        self.second = nn.Sequential(nn.SiLU(), _silent(nn.Conv2d(outputs, outputs, 3, padding=1)))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Maps (n, outputs, height, width) from `x` (n, inputs, height, width) and `condition` (n, condition)."""
        scale, shift = self.modulate(condition)[..., None, None].chunk(2, 1)
        hidden = self.norm(self.first(x)) * (1 + scale) + shift
        result: Tensor = self.shortcut(x) + self.second(hidden)
        return result


class Attention(nn.Module):
    """x + one head of self-attention over all pixels (Ho, Jain & Abbeel 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(_norm(channels), nn.Conv2d(channels, 3 * channels, 1))
        self.exit = _silent(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the shape of `x`."""
        query, key, value = self.enter(x).flatten(2).transpose(1, 2).chunk(3, 2)
        outputs = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = x + self.exit(outputs.transpose(1, 2).reshape(x.shape))
        return result


def sinusoids(t: Tensor, pairs: int) -> Tensor:
    """cos and sin of `t` (n,) in 0..1 at `pairs` frequencies, from fast to slow: (n, 2·pairs) (Vaswani et al. 2017)."""
    exponents = torch.arange(pairs, dtype=t.dtype, device=t.device) / pairs
    angles = TIME_SCALE * t[:, None] * LONGEST_PERIOD**-exponents
    return torch.cat([angles.cos(), angles.sin()], 1)


def flow_loss(velocity: nn.Module, images: Tensor, noise: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """Mean of (v(x_t, t, y) − (data − noise))² (Liu, Gong & Liu 2023, equation 1), for `images` in −1..1, `t` (n,)."""
    times = t[:, None, None, None]
    return F.mse_loss(velocity((1 - times) * noise + times * images, t, labels), images - noise)


def _halvings(schema: Schema) -> int:
    """Halvings from the image to the U-Net's coarsest map."""
    halvings = 0
    side = min(schema.shape[1:])
    while side >= 2 * SMALLEST_MAP - 1 and halvings < MOST_HALVINGS:
        halvings = halvings + 1
        side = (side + 1) // 2
    return halvings


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """`layer` with weights 0, so that the network starts as its shortcuts (Ho, Jain & Abbeel 2020, published code)."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


AVERAGED_STEPS = 1000  # about how many steps the averaged network looks back over, at most a tenth of them
LARGEST_GRADIENT = 1.0  # norm to which gradients are clipped (Ho, Jain & Abbeel 2020, published code)
LOG_EVERY = 100


def train_flow(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
    validation: Dataset | None = None,
) -> FlowGenerator:
    """A flow fitted to `data`, on the CPU in eval mode; `config.latent` and `expert` are not used.

    Times are logit-normal, sigmoid(N(0, 1)), because the middle of a path is the hardest to learn (Esser et al. 2024,
    section 3.1). The result is the moving average of the weights, whose loss on `validation` may end the training
    early. Raises UsageError where the images are too large, MosaicError where the loss is no longer finite.
    """
    with stream.ambient():
        generator = FlowGenerator(flow_spec(data.schema, config.width), data.schema)
    settle(generator, device)
    smooth = averaged(generator, 1 - 1 / max(1, min(AVERAGED_STEPS, config.steps // 10)))
    rng = stream.torch()
    order = batches(len(data), config.batch_size, rng)
    values = data.samples.only.to(device)
    labels = data.labels.to(device)
    optimiser = torch.optim.Adam(generator.parameters(), lr=config.lr, fused=True)

    def draw(_: int) -> tuple[Tensor, Tensor, Tensor]:
        index = next(order)
        noise = torch.randn(len(index), *data.schema.shape, generator=rng)
        return index, noise, torch.randn(len(index), generator=rng).sigmoid()

    def loss(index: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        x = data.schema.kind.to_network(values[index])
        return flow_loss(generator.velocity, x, noise, t, labels[index])

    def held_loss(held: Dataset) -> Callable[[], Tensor]:
        x = data.schema.kind.to_network(held.samples.only.to(device))
        y = held.labels.to(device)
        fixed = replace(stream, stage=f"{stream.stage}/held").torch()
        noise = torch.randn(x.shape, generator=fixed).to(device)
        t = torch.randn(len(x), generator=fixed).sigmoid().to(device)
        velocity = cast("FlowGenerator", smooth.module).velocity
        return lambda: flow_loss(velocity, x, noise, t, y)

    look = every(LOG_EVERY, log_generator(monitor, config.lr), from_first=True)
    hooks = [schedule(cosine(optimiser, config.steps)), average(smooth, generator), progress(monitor), look]
    update = PlainStep(optimiser, LARGEST_GRADIENT)
    stop = EarlyStop(smooth.module, validation, config.patience)
    if stop.samples is not None:
        hooks.append(stop.hook(held_loss(stop.samples), monitor))
    descend_on(device, draw, loss, update, config.steps, hooks, precision=config.precision, capturable=True)
    stop.end()
    monitor.progress(config.steps, config.steps)  # it may have stopped early
    generator.load_state_dict(smooth.module.state_dict())
    bring_back(generator.eval())
    return generator


def check_flow(config: GeneratorConfig, samples: int, schema: Schema, expert: nn.Module | None) -> None:
    """Raise UsageError where the samples are too large for a flow."""
    flow_spec(schema, config.width)


FAMILY = Family(
    conditional=True,
    kinds=frozenset({"image"}),
    build=FlowGenerator,
    train=train_flow,
    train_watched=train_flow,
    check=check_flow,
    max_latent=MAX_FLOW_LATENT,
    spec=lambda config, schema: flow_spec(schema, config.width),
)
