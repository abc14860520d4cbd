"""FedGen: data-free distillation to the clients (Zhu, Hong & Zhou 2021, arXiv 2105.10056, algorithm 1).

The server learns a light generator of penultimate features G(ε, y) that the clients' heads recognise as class y; each
client trains its head on such features too, of all classes, beside its own samples. As in the authors' code, features
are generated where the paper leaves features or images open, heads are weighted by class, and the first round is plain
FedAvg, since nothing has been learnt that could be sent. One round is FedAvg.

The generator's budget (10 · 5 steps a round), Adam and sizes are those of that code, for MNIST; for CIFAR-10 it has 64
for `synthesis.latent` and 512 for `width`. That code has a second term at the client, KL(outputs on features generated
for its samples' labels ‖ outputs on the samples), and weights both by 10; these weights and the generator's rate it
multiplies by 0.98 each round. Left out here: there is the one term of equation 5, with its weight of 1. Different, too:
ε is normal, not uniform; labels come in the clients' proportions, not evenly; the generator's batches are of 128, not
32; its optimiser starts anew each round; and it does not learn in the last round, after which nobody would use it.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.generators.latent import Latent, LatentGenerator
from mosaic_fl.methods.averaging import States
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.rounds import (
    GLOBAL,
    Answers,
    all_rounds,
    equal_outcome,
    load_model,
    serve_rounds,
    start,
    train_equal,
)
from mosaic_fl.models import build
from mosaic_fl.models.loading import load_into
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.experts import class_weights
from mosaic_fl.server.synthesis.generator import draw, improve
from mosaic_fl.server.synthesis.losses import expert_cross_entropy, mode_seeking
from mosaic_fl.storage.container import pack
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor

GENERATOR = "generator"
LABELS = "labels"
WEIGHT_DECAY = 1e-2  # of the generator, in the authors' code


def fedgen(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; the average of the last one is the result.

    Raises UsageError where the clients' architectures differ, or have no head of their own to be trained.
    """
    schema = federation.schema
    seed = config.run.seed
    settings = config.synthesis
    rounds = all_rounds(config)
    architecture, state = start(federation, config, "fedgen")
    features = feature_size(architecture, schema, state)

    def latent(memory: States) -> Latent:
        labels = memory[LABELS]["shares"]
        return Latent(settings.latent, settings.width, features, labels, settings.local, memory[GENERATOR])

    def train(memory: States, clients: Sequence[int], round: int) -> Answers:  # lines 4-11; equation 5
        sent = latent(memory) if LABELS in memory else None
        return train_equal(federation, architecture, memory[GLOBAL], clients, round, config, sent)

    def serve(memory: States, answers: Answers, round: int, monitor: Monitor) -> States:  # lines 12-14
        if round == rounds[-1]:  # no client would see what the generator learns now
            return {**memory, GLOBAL: answers.merged}
        counts = answers.class_counts
        if GENERATOR in memory:
            generator = load_into(latent(memory).network, memory[GENERATOR], "latent generator")
        else:
            with Stream(seed, "fedgen-generator").ambient():
                generator = LatentGenerator(settings.latent, settings.width, schema.num_classes, features)
        heads = [model.to(device).requires_grad_(False).head for model in answers.experts(schema)]
        stream = Stream(seed, "fedgen", round=round)
        loss = train_generator(generator.to(device), heads, counts, settings, stream)
        monitor.log(round, generator_loss=loss)
        shares = {"shares": counts.sum(0) / counts.sum()}
        return {GLOBAL: answers.merged, GENERATOR: copy_state(generator), LABELS: shares}

    memory = serve_rounds(federation, architecture, {GLOBAL: state}, rounds, config, journal, train, serve)
    extra = len(pack("latent", {}, memory[GENERATOR])) if GENERATOR in memory else 0
    return equal_outcome(federation, architecture, memory[GLOBAL], rounds, journal, extra)


def train_generator(
    generator: LatentGenerator,
    heads: Sequence[torch.nn.Module],
    counts: Tensor,
    settings: SynthesisConfig,
    stream: Stream,
) -> float:
    """Equation 4 with the authors' weights and diversity: the last value of the loss.

    Minimises label·Σ_k α[k, y]·CE(head_k(G(ε, y)), y) + diversity·exp(−mean d(ε_i, ε_j)·d(G_i, G_j)) for labels in
    proportion to the samples of the clients, whose `counts` (K, C) also give α.
    """
    device = next(generator.parameters()).device
    weights = class_weights(counts).to(device)
    batch = partial(draw, settings, counts.sum(0), stream.torch(), device)

    def loss(features: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        outputs = torch.stack([head(features) for head in heads], 1)
        fidelity = expert_cross_entropy(outputs, labels, weights).mean()
        return settings.label * fidelity + settings.diversity * mode_seeking(noise, features)

    optimiser = torch.optim.Adam(generator.parameters(), lr=settings.lr, weight_decay=WEIGHT_DECAY, fused=True)
    return improve(generator, optimiser, batch, loss, settings.epochs * settings.generator_steps)


def feature_size(architecture: str, schema: Schema, state: State) -> int:
    """d, of the penultimate features of `architecture`."""
    model = load_model(architecture, schema, state)
    with torch.no_grad():
        return model.features(torch.zeros(1, *schema.shape)).shape[1]


def check_head(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raises UsageError where the models have no head that could be trained apart."""
    with torch.random.fork_rng(devices=[]):
        if not hasattr(build(student, schema), "head"):
            raise UsageError(f"fedgen trains the head of a model apart, and {student} has none: use a built-in model")
