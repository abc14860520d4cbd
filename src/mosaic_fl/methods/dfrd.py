"""DFRD: data-free robust distillation (Luo, Wang, Fu, Li, Lan & Gao 2023, NeurIPS, arXiv 2309.13546, algorithm 1).

Each round merges the clients' models to the global model θ. Then the server fine-tunes θ on samples of a conditional
generator G and of G̃, an exponential moving average of G (`synthesis.ema`); G̃ keeps θ from forgetting. With the
class-weighted ensemble f(x, y) = Σ_k α[k, y]·θ_k(x), α[k, y] = n_k[y] / Σ_j n_j[y] over the clients of the round
(dynamic weighting):

    L_gen  = L_fid + β_tran·L_tran + β_div·L_div                              (section 4.1)
    L_fid  = CE(f(x, y), y),  x = G(z, y)                                     (fidelity)
    L_tran = −ε·KL(f(x, y) ‖ θ(x)),  ε = 1 where f says y and θ does not      (transferability)
    L_div  = exp(−mean d(z_i, z_j)·d(x_i, x_j))                               (diversity)
    L_md   = KL(f(x, y) ‖ θ(x)) + α·KL(f(x̃, y) ‖ θ(x̃)),  x̃ = G̃(z, y)         (section 4.2, robust distillation)

Labels are drawn ~ Σ_k n_k[y] (label sampling). After the generator's steps of a round, G̃ ← ema·G̃ + (1 − ema)·G. Where
`rounds.kind` is heterofl or fedrolex the clients train sub-models (DFRD with partial training), else equal models.

Differences from the paper:

- θ learns from G̃ from the second round on: in the first, G̃ does not differ from G.
- The label enters G as an embedding beside z, not by the paper's product. So L_div is of z alone.
- θ keeps its batch-norm statistics; see FedFTG.
- β_tran is 0.1 (docs/notes/baselines.md).
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.generators.base import Generator
from mosaic_fl.methods.averaging import States, local_settings, traffic
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
from mosaic_fl.methods.sending import with_result
from mosaic_fl.methods.width import assign, check_ratios, partial_sizes, static_batch_norm, train_parts, with_statistics
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.width import narrow
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state, weighted_sum
from mosaic_fl.server.divergences import kl_divergence
from mosaic_fl.server.experts import class_weights
from mosaic_fl.server.synthesis.ensemble import FrozenExperts, frozen
from mosaic_fl.server.synthesis.generator import adam, draw, improve, new_generator
from mosaic_fl.server.synthesis.losses import fools, label_weighted, masked_divergence, mode_seeking
from mosaic_fl.server.synthesis.student import sgd
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.steps import PlainStep

GENERATOR = "generator"
AVERAGED = "averaged"
OLD_SAMPLES = 0.5  # α in L_md: the share of the averaged generator (section 5.1)


def dfrd(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; the fine-tuned model of the last one is the result.

    Raises UsageError where the clients' architectures differ, or have no sub-models where `rounds.kind` needs them.
    """
    schema = federation.schema
    seed = config.run.seed
    settings = config.synthesis
    rounds = all_rounds(config)
    architecture, state = start(federation, config, "dfrd")
    clients = len(federation.architectures)
    ratios = assign(architecture, config.models.ratios, clients) if trains_submodels(config) else {}
    generator, averaged = (new_generator(schema, settings, Stream(seed, "dfrd-generator")) for _ in range(2))

    def train(memory: States, clients: Sequence[int], round: int) -> Answers:
        if not ratios:
            return train_equal(federation, architecture, memory[GLOBAL], clients, round, config)
        roll = round if config.rounds.kind == "fedrolex" else 0
        local = local_settings(config.rounds, len(set(ratios.values())) > 1) | (
            {"absent": 0.0} if config.rounds.masked else {}
        )
        parts = {k: ratios[k] for k in clients}
        fitted, merged = train_parts(federation, architecture, parts, memory[GLOBAL], round, roll, local)
        # The server tunes the full model in eval mode, which needs the full model's own statistics.
        merged = static_batch_norm(federation, architecture, merged, f"statistics-{round:04d}", journal)
        return Answers(fitted, [narrow(architecture, ratios[f.client]) for f in fitted], merged)

    def serve(memory: States, answers: Answers, round: int, monitor: Monitor) -> States:
        student = load_model(architecture, schema, answers.merged).to(device)
        generator.to(device).load_state_dict(memory[GENERATOR])
        old_generator = averaged.to(device) if AVERAGED in memory else None
        if old_generator is not None:
            old_generator.load_state_dict(memory[AVERAGED])
        ensemble = FrozenExperts(answers.experts(schema), device)
        stream = Stream(seed, "dfrd", round=round)
        fine_tune(student, generator, old_generator, ensemble, answers.class_counts, settings, stream, monitor)
        new_state = copy_state(generator)
        average = moving_average(memory[AVERAGED], new_state, settings.ema) if AVERAGED in memory else new_state
        return {GLOBAL: copy_state(student), GENERATOR: new_state, AVERAGED: average}

    memory = {GLOBAL: state, GENERATOR: copy_state(generator)}
    memory = serve_rounds(federation, architecture, memory, rounds, config, journal, train, serve)
    if not ratios:
        return equal_outcome(federation, architecture, memory[GLOBAL], rounds, journal)
    round_bytes = traffic(partial_sizes(architecture, ratios, memory[GLOBAL], schema), rounds, journal)
    final = static_batch_norm(federation, architecture, memory[GLOBAL], "statistics", journal)
    statistics_stages = [*(f"statistics-{round:04d}" for round in rounds), "statistics"]
    up, down = with_statistics(round_bytes, architecture, final, schema, statistics_stages, journal)
    model = GlobalModel(architecture, schema, final)
    return Outcome(model, up, with_result(down, model))


def fine_tune(
    student: Classifier,
    generator: Generator,
    old_generator: Generator | None,
    ensemble: FrozenExperts,
    counts: Tensor,
    settings: SynthesisConfig,
    stream: Stream,
    monitor: Monitor,
) -> None:
    """The server's part of a round: `student` and `generator` learn in turn, in place.

    `old_generator` is the averaged generator of the rounds before, None in the first. `counts` (K, C) are the class
    counts of the ensemble's clients. All networks are on one device.
    """
    device = next(student.parameters()).device
    weights = class_weights(counts).to(device)
    shares = counts.sum(0)
    rng = stream.torch()
    student_optimiser = sgd(student, settings)
    generator_optimiser = adam(generator, settings)
    sources = [(generator, 1.0)] + ([(old_generator, OLD_SAMPLES)] if old_generator is not None else [])
    draw_batch = partial(draw, settings, shares, rng, device)
    generator_loss = student_loss = 0.0

    def objective(images: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        teacher = label_weighted(ensemble(images), labels, weights)
        loss = generator_objective(teacher, student(images), labels, settings)
        return loss + settings.diversity * mode_seeking(z, images)

    student.eval()  # its batch-norm statistics stay those of real images; see FedFTG
    for _ in range(settings.epochs):
        with frozen(student):
            generator_loss = improve(generator, generator_optimiser, draw_batch, objective, settings.generator_steps)
        for _ in range(settings.student_steps):
            loss = torch.zeros((), device=device)
            for source, share in sources:
                z, labels = draw_batch()
                with torch.no_grad():
                    images = source(z, labels)
                    teacher = label_weighted(ensemble(images), labels, weights)
                loss = loss + share * kl_divergence(teacher, student(images)).mean()
            PlainStep(student_optimiser)(loss)
            student_loss = float(loss.detach())
    monitor.log(stream.round, generator_loss=generator_loss, student_loss=student_loss)


def generator_objective(teacher: Tensor, student: Tensor, labels: Tensor, settings: SynthesisConfig) -> Tensor:
    """label·L_fid + adversarial·L_tran, from logits (n, C)."""
    transferability = -masked_divergence(teacher, student, fools(teacher, student, labels)).mean()
    return settings.label * F.cross_entropy(teacher, labels) + settings.adversarial * transferability


def moving_average(average: State, current: State, decay: float) -> State:
    """decay·average + (1 − decay)·current."""
    return weighted_sum([average, current], [decay, 1 - decay])


def trains_submodels(config: Config) -> bool:
    """Whether the clients train sub-models of several widths."""
    return config.rounds.kind != "fedavg"


def check_dfrd(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError where clients train sub-models and the architecture has none of these ratios."""
    if trains_submodels(config):
        check_ratios(config, schema, models, student)
