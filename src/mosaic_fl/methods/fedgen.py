"""FedGen: data-free distillation to the clients (Zhu, Hong & Zhou 2021, arXiv 2105.10056, algorithm 1).

The server learns a small generator G(ε, y) of penultimate features that the clients' heads recognise as class y. Each
client trains its head on its own samples and on such features of all classes. The paper leaves open whether features or
images are generated; as in the authors' code these are features, and heads are weighted by class. The first round is
plain FedAvg, because there is no generator yet. So a run of one round is FedAvg.

The generator's budget (10 · 5 steps a round), Adam and sizes are those of the code for MNIST. For CIFAR-10 the code has
`synthesis.latent` 64 and `synthesis.width` 512.

Differences from the authors' code:

- The code has a second term at the client, KL(outputs on features generated for its samples' labels ‖ outputs on the
  samples). It weights both terms by 10, and multiplies these weights and the generator's rate by 0.98 each round. Here
  is only the term of equation 5, with its weight of 1.
- ε is normal, not uniform. Labels come in the clients' proportions, not evenly.
- The generator's batches are of 128, not 32, and its optimiser starts anew each round.
- The generator does not learn in the last round: no client would use it.
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

    Raises UsageError where the clients' architectures differ, or have no separate head.
    """
    schema = federation.schema
    seed = config.run.seed
    settings = config.synthesis
    rounds = all_rounds(config)
    architecture, state = start(federation, config, "fedgen")
    features = feature_size(architecture, schema, state)

    def build_latent(memory: States) -> Latent:
        labels = memory[LABELS]["shares"]
        return Latent(settings.latent, settings.width, features, labels, settings.local, memory[GENERATOR])

    def train(memory: States, clients: Sequence[int], round: int) -> Answers:  # lines 4-11; equation 5
        latent = build_latent(memory) if LABELS in memory else None
        return train_equal(federation, architecture, memory[GLOBAL], clients, round, config, latent)

    def serve(memory: States, answers: Answers, round: int, monitor: Monitor) -> States:  # lines 12-14
        if round == rounds[-1]:  # no client would use the generator
            return {**memory, GLOBAL: answers.merged}
        counts = answers.class_counts
        if GENERATOR in memory:
            generator = load_into(build_latent(memory).network, memory[GENERATOR], "latent generator")
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
    """Train by equation 4 with the authors' weights and diversity term; returns the last value of the loss.

    The loss is label·Σ_k α[k, y]·CE(head_k(G(ε, y)), y) + diversity·exp(−mean d(ε_i, ε_j)·d(G_i, G_j)). Labels come in
    proportion to the clients' `counts` (K, C), which also give α.
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
    """d, the number of penultimate features of `architecture`."""
    model = load_model(architecture, schema, state)
    with torch.no_grad():
        return model.features(torch.zeros(1, *schema.shape)).shape[1]


def check_head(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError where the models have no separate head."""
    with torch.random.fork_rng(devices=[]):
        if not hasattr(build(student, schema), "head"):
            raise UsageError(f"fedgen trains the head of a model apart, and {student} has none: use a built-in model")
