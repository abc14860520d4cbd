"""The training of a client's generator: of one field, or of each field that it has (generators/product.py)."""

from dataclasses import dataclass

import torch
from torch import nn

from mosaic_fl.client.choice import best, pick_by_field, pick_family, rivals
from mosaic_fl.client.usefulness import log_loss
from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.capability import Capability
from mosaic_fl.generators.base import Generator, require_kind
from mosaic_fl.generators.moments import ClassMoments
from mosaic_fl.generators.product import product_of
from mosaic_fl.models.classifier import Classifier
from mosaic_fl.models.late_fusion import LateFusion
from mosaic_fl.numerics.randomness import Stream
from mosaic_fl.registries import GENERATORS
from mosaic_fl.training.monitor import Monitor

STAGE = "generator"


@dataclass(frozen=True)
class Trainee:
    """A generator to train: its `family` and the `reason` for it, samples of one field, and the network that sees it.

    `stage` names its random stream. The family is "none" where there is none.
    """

    family: str
    reason: str
    data: Dataset
    expert: nn.Module | None
    stage: str = STAGE


def trainees(data: Dataset, expert: Classifier | None, config: GeneratorConfig, device: torch.device) -> list[Trainee]:
    """The generators of a client with the training samples `data` and the network `expert`, one a field that it has."""
    schema = data.schema
    if not schema.joins:
        family, reason = pick_family(config, len(data), schema, device)
        return [Trainee(family, reason, data, expert)]
    parts = {name: data.part([name]) for name in data.samples.fields}
    families = pick_by_field(config, {name: len(part) for name, part in parts.items()}, schema, device)
    return [
        Trainee(*families[name], part, _sees(expert, name, data), f"{STAGE}/{name}") for name, part in parts.items()
    ]


def check_generators(data: Dataset, expert: Classifier | None, config: GeneratorConfig, device: torch.device) -> None:
    """Raise UsageError where a generator cannot be trained on the client's samples, or without a network."""
    for trainee in trainees(data, expert, config, device):
        name = trainee.family
        if name == "none":
            continue
        family = GENERATORS[name]
        if trainee.expert is None and family.learns_from_expert:
            raise UsageError(
                f"generator {name} needs {Capability.GRADIENTS} of the client's model, which is no network: say "
                "generator.family = cvae"
            )
        if data.schema.joins and not family.conditional:
            raise UsageError(
                f"generator {name} draws no samples of a given class, by which fields are joined: say "
                "generator.family = auto"
            )
        require_kind(name, trainee.data.schema)
        classifier = trainee.expert if isinstance(trainee.expert, Classifier) else None
        family.check(config, len(trainee.data), trainee.data.schema, classifier)


def train_generator(
    data: Dataset,
    validation: Dataset,
    expert: Classifier | None,
    config: GeneratorConfig,
    seed: int,
    client: int,
    device: torch.device,
    monitor: Monitor,
) -> tuple[Generator | None, str]:
    """(generator, reason for its family), or (None, reason why there is no generator).

    Where `measured` has several families for a field, they are compared on the samples of `validation`.
    """
    members = dict[str, Generator]()
    notes = dict[str, str]()
    for trainee in trainees(data, expert, config, device):
        field = _field(trainee)
        notes[field] = trainee.reason
        if trainee.family != "none":
            held = validation.part([field])
            members[field], reason = _train_best(trainee, held, config, seed, client, device, monitor)
            lacks = left_out(members[field], trainee.data)
            notes[field] = f"{reason}; {lacks}" if lacks else reason
    if not data.schema.joins:
        return next(iter(members.values()), None), next(iter(notes.values()))
    note = "; ".join(
        f"{field}: {members[field].spec.family if field in members else 'none'}, {reason}"
        for field, reason in notes.items()
    )
    return (product_of(members, data.schema) if members else None), note


def left_out(generator: Generator, data: Dataset) -> str:
    """How many classes of `data` are too small for class moments, in words; empty where none is."""
    if not isinstance(generator, ClassMoments):
        return ""
    small = int(((data.class_counts() > 0) & (generator.counts.cpu() == 0)).sum())
    return f"without {small} class{'es' * (small != 1)} of fewer than {generator.least} samples" if small else ""


def _train_best(
    trainee: Trainee,
    validation: Dataset,
    config: GeneratorConfig,
    seed: int,
    client: int,
    device: torch.device,
    monitor: Monitor,
) -> tuple[Generator, str]:
    """(generator, reason for its family) of one field: that of the trainee, or the one whose samples teach most."""
    samples = len(trainee.data)
    classes = len(validation.labels.unique())
    others = rivals(config, samples, len(validation), classes, trainee.data.schema)
    results = dict[str, Generator]()
    for name in (trainee.family, *others):
        settings = config.model_copy(update={"family": name, "steps": config.steps_for(samples)})
        family = GENERATORS[name]
        work = (trainee.data, trainee.expert, settings, Stream(seed, trainee.stage, client), device, monitor)
        watched = family.train_watched if settings.patience else None
        results[name] = watched(*work, validation) if watched is not None else family.train(*work)
    if not others:
        return results[trainee.family], trainee.reason
    stream = Stream(seed, "usefulness", client)
    losses = {name: log_loss(generator, trainee.data, validation, stream) for name, generator in results.items()}
    name, reason = best(losses, len(validation))
    return results[name], reason


def _field(trainee: Trainee) -> str:
    return next(iter(trainee.data.schema.fields))


def _sees(expert: Classifier | None, field: str, data: Dataset) -> nn.Module | None:
    """The network that sees this field alone: the encoder of one that joins fields, or the client's own."""
    if isinstance(expert, LateFusion):
        return expert.encoder(field)
    return expert if data.samples.fields == (field,) else None
