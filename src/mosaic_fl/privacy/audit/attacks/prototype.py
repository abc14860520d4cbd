"""Prototypes: a centre of few features lies near each of them."""

import torch

from mosaic_fl.domains.samples import Samples
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.numerics.devices import images_at_once
from mosaic_fl.privacy.audit.case import Case, Pair


@torch.no_grad()
def prototype(case: Case) -> Pair | str:
    """Minus the distance of a sample's features to the nearest centre of its class; without such a centre none."""
    centres = case.contribution.prototypes
    if not len(centres.labels):
        return "it sends no prototypes"
    expert = case.expert
    data = case.everyone
    if data.schema.is_space:
        features = data.samples.only
    elif isinstance(expert, Classifier):
        features = torch.cat([_features(expert, part) for part in data.samples.split(images_at_once("cpu"))])
    else:
        return "its features are not those of one network"
    scores = torch.full((len(data),), torch.nan, dtype=torch.float64)
    for label in centres.labels.unique().tolist():
        own = data.labels == label
        scores[own] = -torch.cdist(features[own], centres.features[centres.labels == label]).min(1).values.double()
    members, strangers = case.parted(scores)
    return members[~members.isnan()], strangers[~strangers.isnan()]


def _features(expert: Classifier, samples: Samples) -> torch.Tensor:
    return expert.features(samples.inputs()).float()
