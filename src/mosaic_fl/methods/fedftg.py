"""FedFTG: fine-tuning of the average by data-free distillation (Zhang, Shen, Ding, Tao & Duan 2022, arXiv 2203.09249).

Each round (algorithm 1) averages the clients' models. Then the server plays a game: a conditional generator G looks for
hard samples, on which the global model θ differs from the clients' models, and θ learns from the clients' models on
these samples:

    min_θ max_G  L_md − λ_cls·L_cls − λ_dis·L_dis                              (equation 4)
    L_md  = Σ_k α[k, y]·D(θ(x), θ_k(x)),  x = G(z, y)                          (equation 5, class-level ensemble)
    L_cls = Σ_k α[k, y]·CE(θ_k(x), y)                                          (fidelity)
    L_dis = exp(−mean d(z_i, z_j)·d(x_i, x_j))                                 (diversity)

with α[k, y] = n_k[y] / Σ_j n_j[y] and labels y drawn ~ Σ_k n_k[y] (customised label sampling), both over the clients of
the round. The generator goes on from round to round; its optimiser starts anew.

For D the paper writes the KL divergence KL(θ ‖ θ_k). We follow its authors' code, which has two distances: for the
generator the mean distance of logits, and for θ the divergence KL(p ‖ θ) from the ensemble's probabilities
p = Σ_k α[k, y]·softmax θ_k(x). The paper's D has no bound, and the generator finds samples on which the experts are far
too sure: with it the average became worse (docs/notes/baselines.md).

The student keeps the average's batch-norm statistics, which are those of real images. With statistics of generated
images an average of the fifth round fell from 96 % to 89 % (α = 0.5); with these it stays at 96 %.

Differences from the authors' code:

- The code takes an Adam step of G for each client's loss (K·10 a round). Here one step serves their sum (10 a round),
  with DCGAN's betas.
- In the code one (z, y) serves G's turn and the student's five steps, in which G uses its running statistics. Here each
  step draws its own.
- In the code the labels of a round fill their shares exactly, L_md has no gradient through θ_k, and L_cls is the
  batch's mean α times its mean cross-entropy.
- In the code the student's SGD has weight decay 1e-3 and batch-norm statistics that move, and both rates are multiplied
  by 0.998 each round.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from mosaic_fl.config import Config, SynthesisConfig
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.generators.base import Generator
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
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.divergences import kl_divergence
from mosaic_fl.server.experts import TINY, class_weights
from mosaic_fl.server.synthesis.ensemble import FrozenExperts, frozen
from mosaic_fl.server.synthesis.generator import adam, draw, improve, new_generator
from mosaic_fl.server.synthesis.losses import expert_cross_entropy, expert_distance, label_weighted, mode_seeking
from mosaic_fl.server.synthesis.student import sgd
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor
from mosaic_fl.training.steps import PlainStep

GENERATOR = "generator"


def fedftg(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; the fine-tuned average of the last one is the result.

    Raises UsageError where the clients' architectures differ.
    """
    schema = federation.schema
    seed = config.run.seed
    rounds = all_rounds(config)
    architecture, state = start(federation, config, "fedftg")
    generator = new_generator(schema, config.synthesis, Stream(seed, "fedftg-generator"))

    def train(memory: States, clients: Sequence[int], round: int) -> Answers:
        return train_equal(federation, architecture, memory[GLOBAL], clients, round, config)

    def serve(memory: States, answers: Answers, round: int, monitor: Monitor) -> States:
        generator.load_state_dict(memory[GENERATOR])
        student = load_model(architecture, schema, answers.merged).to(device)
        ensemble = FrozenExperts(answers.experts(schema), device)
        stream = Stream(seed, "fedftg", round=round)
        fine_tune(student, generator.to(device), ensemble, answers.class_counts, config.synthesis, stream, monitor)
        return {GLOBAL: copy_state(student), GENERATOR: copy_state(generator)}

    memory = {GLOBAL: state, GENERATOR: copy_state(generator)}
    memory = serve_rounds(federation, architecture, memory, rounds, config, journal, train, serve)
    return equal_outcome(federation, architecture, memory[GLOBAL], rounds, journal)


def fine_tune(
    student: Classifier,
    generator: Generator,
    ensemble: FrozenExperts,
    counts: Tensor,
    settings: SynthesisConfig,
    stream: Stream,
    monitor: Monitor,
) -> None:
    """The server's part of a round (algorithm 1, lines 8-19): `student` and `generator` learn in turn, in place.

    `counts` (K, C) are the class counts of the ensemble's clients. All networks are on one device.
    """
    device = next(student.parameters()).device
    weights = class_weights(counts).to(device)
    shares = counts.sum(0)
    rng = stream.torch()
    student_optimiser = sgd(student, settings)
    generator_optimiser = adam(generator, settings)
    draw_batch = partial(draw, settings, shares, rng, device)
    generator_loss = student_loss = 0.0

    def hard_samples(images: Tensor, z: Tensor, labels: Tensor) -> Tensor:
        outputs = ensemble(images)
        fidelity = expert_cross_entropy(outputs, labels, weights).mean()
        hardness = expert_distance(outputs, student(images), labels, weights).mean()
        diversity = mode_seeking(z, images)
        return settings.label * fidelity - settings.adversarial * hardness + settings.diversity * diversity

    student.eval()  # its batch-norm statistics stay those of real images
    for _ in range(settings.epochs):
        with frozen(student):
            generator_loss = improve(generator, generator_optimiser, draw_batch, hard_samples, settings.generator_steps)
        for _ in range(settings.student_steps):
            z, labels = draw_batch()
            with torch.no_grad():
                images = generator(z, labels)
                teacher = label_weighted(ensemble(images).softmax(2), labels, weights).clamp(min=TINY).log()
            loss = kl_divergence(teacher, student(images)).mean()
            PlainStep(student_optimiser)(loss)
            student_loss = float(loss.detach())
    monitor.log(stream.round, generator_loss=generator_loss, student_loss=student_loss)
