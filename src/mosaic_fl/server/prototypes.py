"""Clients' prototypes as the paper's meta model learns from them (docs/method.md, step 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mosaic_fl.domains.samples import Samples
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.server.experts import MixtureOfExperts
from mosaic_fl.server.meta_training import few_enough


@torch.no_grad()
def prototype_outputs(contributions: Sequence[Contribution], mixture: MixtureOfExperts) -> tuple[Tensor, Tensor]:
    """All clients' prototypes pushed through each expert's classification head: logits (p, K, C), labels (p,).

    Prototypes of vectors lie in the space that all experts take, and go through the whole expert, of whatever kind.

    Some are left out where these would be too large (`few_enough`). The prototypes come with the backbones of this very
    contribution, never of an earlier round. Raises UsageError where no client sent any, or an expert has no head that
    fits their features.
    """
    labels = torch.cat([c.prototypes.labels for c in contributions])
    if not len(labels):
        raise UsageError(
            "no client sent prototypes: set prototypes.per_class above 0 and prototypes.min_cluster below what clients "
            "hold of a class, or meta.source = synthetic"
        )
    schema = contributions[0].schema
    kinds = sorted({c.architecture for c in contributions})
    heads = [getattr(expert, "head", None) for expert in mixture.experts]
    if not schema.is_space and (len(kinds) > 1 or any(head is None for head in heads)):
        raise UsageError(
            f"meta.source = prototypes needs one built-in architecture at all clients, not {', '.join(kinds)}: "
            "use meta.source = synthetic"
        )
    # Who sent none may say any width of features: nothing at all was checked.
    features = torch.cat([c.prototypes.features for c in contributions if len(c.prototypes.labels)])
    count = few_enough(len(labels), mixture.weights)
    spread = torch.arange(count) * len(labels) // count  # over all clients and classes, which are in order
    features = features[spread]
    if schema.is_space:
        return mixture.outputs(Samples(schema.fields, {next(iter(schema.fields)): features})), labels[spread]
    return torch.stack([head(features) for head in heads if head is not None], 1), labels[spread]
