"""FedCVAE-Ens (Heinbaugh, Luz-Ricca, Shao 2023, "Data-free one-shot federated learning under very high statistical
heterogeneity", ICLR).

1. Client k trains a conditional VAE on its data. It sends the decoder and its label distribution p_k(y), and no
   classifier. Here each client trains a classifier too, as for every contribution. It is neither sent nor used, but its
   training is in the client's seconds.
2. The server draws the same number of samples from every decoder, with labels from its own p_k(y), and trains one
   classifier on the union, with those labels alone.

Decoders are sampled at N(0, I), which the paper truncates, and trained with the plain ELBO (`generator.kl = 1`,
`generator.perceptual = 0`). The density that Mosaic's clients fit afterwards is ours and is not used here. With both
this method would be Mosaic on labels alone, one of the candidates of `mosaic run --choose`. `distill.balanced = true`
draws classes evenly instead, and within a class by the clients' counts.
"""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.samples import from_tensors, to_tensors
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.generators.density import ClassMixture
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import by_client, upload_size
from mosaic_fl.models import default_student
from mosaic_fl.registries import GENERATORS
from mosaic_fl.server.lessons import FIELD, label_settings, learn_labels
from mosaic_fl.server.transfer import transfer_set
from mosaic_fl.storage.journal import Journal
from mosaic_fl.training.monitor import Monitor


def fedcvae(federation: Federation, config: Config, device: torch.device, journal: Journal) -> Outcome:
    """One contribution a client, one classifier that learns from decoded samples.

    Of a contribution only decoder and class counts are used. The student trains as `config.distill` says, with labels
    alone. Raises UsageError where no client has a generator.
    """
    schema = federation.schema
    seed = config.run.seed
    architecture = config.models.student or default_student(schema)
    contributions = federation.contribute()
    settings = label_settings(config.distill)

    def gather(monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        transfer = transfer_set([with_standard_prior(c) for c in contributions], settings, seed, device)
        return {**to_tensors(transfer.samples, FIELD), "labels": transfer.labels, "sources": transfer.sources}, {}

    def learn(monitor: Monitor) -> tuple[dict[str, Tensor], dict[str, Any]]:
        samples = from_tensors(schema.fields, pool, FIELD)
        return learn_labels(architecture, schema, samples, pool["labels"], settings, seed, device, monitor)

    pool = journal.stage("pool", gather).tensors
    model = GlobalModel(architecture, schema, journal.stage("student", learn).tensors)
    sizes = {c.client: upload_size(without_density(c), expert=False, generator=True) for c in contributions}
    clients = len(federation.architectures)
    return Outcome(model, by_client(sizes, clients), [len(model.to_bytes())] * clients)


def with_standard_prior(contribution: Contribution) -> Contribution:
    """The contribution with a decoder that is sampled at N(0, I), as in the paper, not at its fitted density.

    A generator of a family without such a density is as it is.
    """
    spec = contribution.generator_spec
    if contribution.generator is None or spec is None or not GENERATORS.received(spec.family).fits_density:
        return contribution
    latent = contribution.generator["density.location"].shape[1]
    density = ClassMixture(contribution.schema.num_classes, latent)
    plain = {f"density.{name}": tensor for name, tensor in density.state_dict().items()}
    return replace(contribution, generator={**contribution.generator, **plain})


def without_density(contribution: Contribution) -> Contribution:
    """The contribution with a decoder alone, as it would travel here; without its density it does not build."""
    decoder = {k: v for k, v in (contribution.generator or {}).items() if not k.startswith("density.")}
    return replace(contribution, generator=decoder if contribution.generator else None)
