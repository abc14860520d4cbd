"""A global model as a contribution: its clients together are one client of a larger federation."""

from collections.abc import Sequence

import torch

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import MAX_COUNT, Contribution, no_prototypes
from mosaic_fl.exchange.feature_moments import FeatureMoments, of_moments
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.generators.merged import Member, merge
from mosaic_fl.generators.moments import NoisyClassMoments, as_one
from mosaic_fl.generators.product import members_of, product
from mosaic_fl.notes import note


def as_contribution(model: GlobalModel, contributions: Sequence[Contribution], client: int) -> Contribution:
    """The contribution of `client` that stands for `contributions`, from which `model` was distilled.

    The model is its expert, the clients' generators and moments are merged, and their class counts summed. It has no
    prototypes and no figures of a validation split, since the server has no data. A client without a generator that
    draws samples of a given class is not among the merged ones, which a note says. Raises UsageError where the samples
    are of another schema than the model, where such clients alone hold a class, or hold too many samples, and where
    none has one.
    """
    counts = torch.stack([c.class_counts for c in contributions]).sum(0)
    if int(counts.max()) > MAX_COUNT:
        raise UsageError(f"the clients hold {int(counts.max())} samples of a class together: at most {MAX_COUNT}")
    if any(c.schema != model.schema for c in contributions):
        raise UsageError("the contributions are of another schema than the model, so it was not distilled from them")
    if model.schema.joins:
        return _of_fields(model, contributions, client)
    members = list[Member]()
    silent = list[int]()
    for c in sorted(contributions, key=lambda c: c.client):
        if c.generator_spec is None or c.generator is None or not c.generator_spec.conditional:
            silent.append(c.client)
        else:
            members.append((c.generator_spec, dict(c.generator), c.class_counts))
    if not members:
        raise UsageError("no client has a generator that draws samples of a given class, so there is nothing to merge")
    drawn = torch.stack([own for _, _, own in members]).sum(0)
    if lost := [name for name, n, m in zip(model.schema.classes, counts, drawn, strict=True) if n and not m]:
        raise UsageError(
            f"class {lost[0]!r} is held by clients alone whose generators draw no samples of a given class (clients "
            f"{', '.join(map(str, silent))}): let these contribute with --generator cvae"
        )
    if silent:
        numbers = ", ".join(map(str, silent))
        note(f"clients {numbers} have no generator that draws samples of a given class: theirs are not merged")
    spec, state = merge(members)
    owners = ", ".join(str(c.client) for c in contributions if c.client not in silent)
    return Contribution(
        client=client,
        schema=model.schema,
        architecture=model.architecture,
        expert=dict(model.state),
        class_counts=counts,
        prototypes=no_prototypes(),
        validation={"samples": 0},
        generator_spec=spec,
        generator=state,
        generator_note=f"merged of clients {owners}",
        moments=_moments(contributions),
    )


def _moments(contributions: Sequence[Contribution]) -> FeatureMoments | None:
    """The clients' class moments together, as one client's; None where nobody told some.

    Raises UsageError for moments with noise: as merged ones they would have to be told without it.
    """
    told = [(c.moments, c.moments.build(c.schema, f"client {c.client}")) for c in contributions if c.moments]
    if not told:
        return None
    if any(isinstance(moments, NoisyClassMoments) for _, moments in told):
        raise UsageError(
            "moments with noise for differential privacy are not merged: send the contributions themselves"
        )
    schema = told[0][0].schema(contributions[0].schema)
    return of_moments(as_one([moments for _, moments in told], schema), schema)


def _of_fields(model: GlobalModel, contributions: Sequence[Contribution], client: int) -> Contribution:
    """As `as_contribution`, for samples of several fields: the generators of each field are merged by themselves."""
    members: dict[str, list[Member]] = {}
    for c in sorted(contributions, key=lambda c: c.client):
        if c.generator_spec is not None and c.generator is not None:
            by_field = dict(zip(c.schema.fields, c.counts_by_field, strict=True))
            for name, (spec, state) in members_of(c.generator_spec, dict(c.generator)).items():
                members.setdefault(name, []).append((spec, state, by_field[name]))
    if not members:
        raise UsageError("no client has a generator, so there is nothing to merge")
    counts = torch.stack([c.counts_by_field for c in contributions]).sum(0)
    spec, state = product({name: merge(members[name]) for name in model.schema.fields if name in members})
    return Contribution(
        client=client,
        schema=model.schema,
        architecture=model.architecture,
        expert=dict(model.state),
        class_counts=torch.stack([c.class_counts for c in contributions]).sum(0),
        prototypes=no_prototypes(),
        validation={"samples": 0},
        generator_spec=spec,
        generator=state,
        generator_note=f"merged of clients {', '.join(str(c.client) for c in contributions)}",
        field_counts=counts,
    )
