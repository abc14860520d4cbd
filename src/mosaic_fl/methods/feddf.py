"""FedDF: ensemble distillation (Lin, Kong, Stich & Jaggi 2020, arXiv 2006.07242, algorithm 1).

After each round's average the server distils the mean of the clients' logits into it (equation 1, lines 7-10). For
that the paper takes unlabelled images of another data set, or a generator. Here the transfer set is that of Mosaic:
samples of the clients' own generators and prior images, without labels. The clients send those generators once, in the
first round. So FedDF and Mosaic differ in teacher and rounds, not in the images.

The paper stops early by a validation set at the server. Our server has no data, so it keeps the step that is best on
held-back transfer images (`distill.holdout`).

The student approaches its teacher. So late rounds gain nothing where the average is already better than the teacher
(docs/notes/baselines.md).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import from_tensors, to_tensors
from mosaic_fl.domains.schema import Schema
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
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
from mosaic_fl.methods.sending import upload_size
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import State, copy_state
from mosaic_fl.server.checks import check_distillation, check_transfer
from mosaic_fl.server.experts import MixtureOfExperts, class_priors, class_weights, mean_logits
from mosaic_fl.server.student import Lesson, train_student
from mosaic_fl.server.transfer import UNLABELLED, transfer_set
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor, Recorder


def feddf(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; the distilled model of the last one is the result.

    Raises UsageError where the clients' architectures differ, or where there is no image to distil on.
    """
    schema = federation.schema
    seed = config.run.seed
    rounds = all_rounds(config)
    architecture, state = start(federation, config, "feddf")
    settings = config.distill.model_copy(update={"kl": 1.0, "label": 0.0, "teacher_label": 0.0, "jsd": 0.0})
    contributions = federation.contribute()

    def gather(monitor: Monitor) -> tuple[State, dict[str, Any]]:
        transfer = transfer_set(contributions, config.distill, seed, device)
        return to_tensors(transfer.samples, ""), transfer.counts()

    samples = from_tensors(schema.fields, journal.stage("transfer", gather).tensors, "")

    def train(memory: States, clients: Sequence[int], round: int) -> Answers:  # lines 3-5
        return train_equal(federation, architecture, memory[GLOBAL], clients, round, config)

    def serve(memory: States, answers: Answers, round: int, monitor: Monitor) -> States:  # lines 6-10
        counts = answers.class_counts
        experts = MixtureOfExperts(tuple(answers.experts(schema)), class_weights(counts), class_priors(counts))
        teacher = experts.fused(samples, {"mean": mean_logits}, device)["mean"]
        lesson = Lesson(samples, torch.full((len(samples),), UNLABELLED), teacher)
        student = load_model(architecture, schema, answers.merged)
        figures = train_student(student, lesson, settings, Stream(seed, "feddf", round=round), device, Recorder())
        monitor.log(round, **{name: value for name, value in figures.items() if name != "holdout_accuracy"})
        return {GLOBAL: copy_state(student)}

    memory = serve_rounds(federation, architecture, {GLOBAL: state}, rounds, config, journal, train, serve)
    outcome = equal_outcome(federation, architecture, memory[GLOBAL], rounds, journal)
    # Of a contribution only the generator is used, and its expert where the generator is not conditional.
    generator_bytes = {c.client: upload_size(c, expert=needs_judge(c), generator=True) for c in contributions}
    bytes_up = [size + generator_bytes.get(client, 0) for client, size in enumerate(outcome.bytes_up)]
    return replace(outcome, bytes_up=bytes_up)


def needs_judge(contribution: Contribution) -> bool:
    """Whether its generator is not conditional: then its expert has to find the class of each sample."""
    return contribution.generator_spec is not None and not contribution.generator_spec.conditional


def check_feddf(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError for settings that leave no image to distil on."""
    check_distillation(config, schema, models)
    check_transfer(config, schema)
