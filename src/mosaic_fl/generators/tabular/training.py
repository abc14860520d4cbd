"""How a client's rows become a decoder, and the family `tabular`."""

import torch
from torch import Tensor, nn

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.data.validation import hold_out
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.samples import Samples
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table.kind import MAX_COLUMNS
from mosaic_fl.generators.base import GeneratorSpec
from mosaic_fl.generators.cart import disclosure
from mosaic_fl.generators.cart.trees import LEAST
from mosaic_fl.generators.family import Family
from mosaic_fl.generators.rows import table_of
from mosaic_fl.generators.tabular.network import Decoder, Encoder
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.training.batches import batches
from mosaic_fl.training.hooks import BestWeights, every, log_generator, progress, schedule
from mosaic_fl.training.loop import StepTaken, descend
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.optimisers import cosine
from mosaic_fl.training.steps import PlainStep

CHECK_EVERY = 50  # steps
PATIENCE = 6  # checks without a better bound on the rows that are held out
HELD_OUT = 0.1  # share of the rows, for the early stop
ENOUGH = 300  # rows from which on some are held out
RIVAL_FROM = 500  # rows from which on `generator.family = measured` spends the seconds that it takes
MAX_LATENT = 1024


def spec(config: GeneratorConfig, schema: Schema) -> GeneratorSpec:
    """The latents of the settings and one more a column."""
    return GeneratorSpec("tabular", config.latent + len(table_of("tabular", schema).columns), config.width)


def train(
    data: Dataset,
    expert: nn.Module | None,
    config: GeneratorConfig,
    stream: Stream,
    device: torch.device,
    monitor: Monitor,
) -> Decoder:
    """A decoder fitted to `data`, on the CPU in eval mode; `expert` is not used.

    It ends with the weights that had the best bound on held-out rows, where there are rows enough. Raises MosaicError
    where the loss is no longer finite.
    """
    told = _told(data)
    rest, held = hold_out(told, HELD_OUT if len(told) >= ENOUGH else 0.0, Stream(stream.seed, "held", stream.client))
    with stream.ambient():
        decoder = Decoder(spec(config, data.schema), data.schema).to(device)
        encoder = Encoder(decoder).to(device)
    rng = stream.torch()
    draw = batches(len(rest), config.batch_size, rng)
    inputs = _inputs(rest).to(device)
    labels = rest.labels.to(device)
    both = nn.ModuleList([decoder, encoder])
    optimiser = torch.optim.Adam(both.parameters(), lr=config.lr, fused=True)
    best = BestWeights(both, PATIENCE)
    held_inputs = _inputs(held).to(device)
    held_labels = held.labels.to(device)
    noise = torch.randn(len(held), decoder.latent, generator=rng).to(device)

    def loss(_: int) -> Tensor:
        index = next(draw).to(device)
        draws = torch.randn(len(index), decoder.latent, generator=rng).to(device)
        return bound(decoder, encoder, inputs[index], labels[index], draws, config.kl)

    @torch.no_grad()
    def look(_: StepTaken) -> bool:
        if not len(held):
            return False
        return best.offer(float(bound(decoder, encoder, held_inputs, held_labels, noise, config.kl)))

    log = every(CHECK_EVERY, log_generator(monitor, config.lr), from_first=True)
    hooks = [schedule(cosine(optimiser, config.steps)), progress(monitor), log, every(CHECK_EVERY, look)]
    descend(loss, PlainStep(optimiser), config.steps, hooks)
    monitor.progress(config.steps, config.steps)  # it may have stopped early
    both.cpu().eval()
    best.load_into(both)
    decoder.frequent = decoder.likelihood.frequent(_inputs(told), LEAST)
    with torch.no_grad():
        mean, log_variance = encoder(_inputs(told), told.labels)
        decoder.density.fit(mean, log_variance, told.labels, stream.integer())
    return decoder


def bound(decoder: Decoder, encoder: Encoder, inputs: Tensor, labels: Tensor, noise: Tensor, kl: float) -> Tensor:
    """−ELBO a row in nats: −log p(x | z, y) at z of standard normal `noise` (n, latent), and kl · KL(q ‖ N(0, 1)).

    Kingma & Welling 2014, equation 10; `inputs` (n, width) in the form of a network.
    """
    mean, log_variance = encoder(inputs, labels)
    parameters = decoder.parameters_of(mean + noise * (0.5 * log_variance).exp(), labels)
    divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)
    loss: Tensor = kl * divergence.mean() - decoder.likelihood.log_likelihood(parameters, inputs).mean()
    return loss


def _told(data: Dataset) -> Dataset:
    """The rows of which a generator may tell: without outliers and rare categories, or public ones for a few."""
    table = table_of("tabular", data.schema)
    values = disclosure.told_rows(data.samples.only, table.columns)
    labels = data.labels if len(data) >= LEAST else torch.zeros(len(values), dtype=torch.int64)
    name = next(iter(data.schema.fields))
    return Dataset(Samples(data.schema.fields, {name: values}), labels, data.schema)


def _inputs(data: Dataset) -> Tensor:
    return table_of("tabular", data.schema).to_network(data.samples.only)


FAMILY = Family(
    conditional=True,
    kinds=frozenset({"table"}),
    build=Decoder,
    train=train,
    max_latent=MAX_LATENT + MAX_COLUMNS,
    spec=spec,
    fits_density=True,
    rival_from=RIVAL_FROM,
)
