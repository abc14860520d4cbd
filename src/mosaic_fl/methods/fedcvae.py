"""FedCVAE-Ens (Heinbaugh, Luz-Ricca, Shao 2023, "Data-free one-shot federated learning under very high statistical
heterogeneity", ICLR).

1. Client k trains a conditional VAE on its data and sends the decoder and its label distribution p_k(y). No classifier
   (here each trains one too, as for every contribution: it is neither sent nor used, but in the seconds at the client).
2. The server asks every decoder for the same number of samples, with labels drawn from its own p_k(y), and trains one
   classifier on the union, with those labels alone.

Decoders are sampled at N(0, I), which the paper truncates, and trained with the plain ELBO (`generator.kl = 1`): the
density fitted afterwards, which Mosaic's clients send, is ours. With it this method would be Mosaic on labels alone,
which `mosaic run --choose` has among its candidates. `distill.balanced = true` draws classes evenly instead, and
within a class by the clients' counts.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import from_tensors, to_tensors
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.generators.density import ClassMixture
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import of_each, sent_size
from mosaic_fl.models import build, default_student
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.numerics.states import copy_state
from mosaic_fl.server.student import Lesson, train_student
from mosaic_fl.server.transfer import transfer_set
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor

FIELD = "sample/"  # begins the names of the samples' fields in the pool's stage


def fedcvae(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One contribution a client, of which decoder and class counts are used; one classifier of decoded samples.

    The student's training is that of `config.distill` with labels alone. Raises UsageError where no client has a
    generator.
    """
    schema = federation.schema
    seed = config.run.seed
    architecture = config.models.student or default_student(schema)
    contributions = federation.contribute()
    settings = config.distill.model_copy(
        update={"prior": "none", "kl": 0.0, "label": 1.0, "teacher_label": 0.0, "jsd": 0.0}
    )

    def gather(monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        made = transfer_set([at_the_prior(c) for c in contributions], settings, seed, device)
        return {**to_tensors(made.samples, FIELD), "labels": made.labels, "sources": made.sources}, {}

    def learn(monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        with Stream(seed, "student-init").ambient():
            student = build(architecture, schema)
        labels = pool["labels"]
        teacher = F.one_hot(labels, schema.num_classes).float()  # the label
        lesson = Lesson(from_tensors(schema.fields, pool, FIELD), labels, teacher)
        holdout = train_student(student, lesson, settings, Stream(seed, "student"), device, monitor)
        return copy_state(student), {"holdout": holdout}

    pool = journal.stage("pool", gather).tensors
    model = GlobalModel(architecture, schema, journal.stage("student", learn).tensors)
    sent = {c.client: sent_size(without_density(c), expert=False, generator=True) for c in contributions}
    clients = len(federation.architectures)
    return Outcome(model, of_each(sent, clients), [len(model.to_bytes())] * clients)


def at_the_prior(contribution: Contribution) -> Contribution:
    """The contribution with a decoder that is sampled at N(0, 1), as the paper's, and not at a density fitted to it."""
    if contribution.generator is None or contribution.generator_spec is None:
        return contribution
    density = ClassMixture(contribution.schema.num_classes, contribution.generator_spec.latent)
    plain = {f"density.{name}": tensor for name, tensor in density.state_dict().items()}
    return replace(contribution, generator={**contribution.generator, **plain})


def without_density(contribution: Contribution) -> Contribution:
    """The contribution as it would travel here: a decoder alone, which does not build."""
    decoder = {k: v for k, v in (contribution.generator or {}).items() if not k.startswith("density.")}
    return replace(contribution, generator=decoder if contribution.generator else None)
