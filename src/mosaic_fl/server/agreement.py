"""What contributions that are fused agree on: their schema, their numbers, and the encoder of their moments."""

from collections.abc import Sequence
from itertools import pairwise

from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution


def compatible(contributions: Sequence[Contribution]) -> list[Contribution]:
    """The contributions in the order of their clients; raises UsageError unless they can be fused."""
    if not contributions:
        raise UsageError("there is no contribution to distil")
    ordered = sorted(contributions, key=lambda c: c.client)
    for before, after in pairwise(ordered):
        if before.client == after.client:
            raise UsageError(f"two contributions come from client {after.client}: give every client its own --client")
        if before.schema != after.schema:
            way = _way_to_agree((before.schema, after.schema))
            raise UsageError(
                f"client {after.client} has {after.schema.difference(before.schema)} as client {before.client}: {way}"
            )
    require_one_space(ordered)
    return ordered


def require_one_space(contributions: Sequence[Contribution]) -> None:
    """Raise UsageError where clients tell class moments in the spaces of different encoders."""
    told = [(c.client, c.moments.schema(c.schema).kind) for c in contributions if c.moments is not None]
    for (first, before), (second, after) in pairwise(told):
        if before != after:
            raise UsageError(
                f"client {second} tells moments of {after.difference(before)} as client {first}: every site must give "
                "the same --moments"
            )


def _way_to_agree(schemas: Sequence[Schema]) -> str:
    """What sites of different schemas do."""
    if any(schema.of_vectors for schema in schemas):
        return "every site must give the same --encoder, classes and image size"
    if all(kind.name == "image" for schema in schemas for kind in schema.fields.values()):
        return "every site must give the same --classes (by name where they are folders) and image size"
    return "all sites need the same schema file (--schema)"
