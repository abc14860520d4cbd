"""What is odd about contributions beside each other, before any work: pure functions from contributions to doubts.

A doubt is no proof: it is for a person who looks at files. None of it reads what a model answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.server.agreement import require_one_space
from mosaic_fl.server.trust.copies import copied_parts
from mosaic_fl.server.trust.counts import cap


@dataclass(frozen=True)
class Doubt:
    """What `rule` holds against the `clients`, in words."""

    rule: str
    clients: tuple[int, ...]
    text: str


def doubts(contributions: Sequence[Contribution]) -> list[Doubt]:
    """All doubts about these contributions, by rule: numbers, schemas, encoders, counts and copies."""
    rules = (_numbers, _schemas, _encoders, _counts, _copies)
    return [doubt for rule in rules for doubt in rule(contributions)]


def _numbers(contributions: Sequence[Contribution]) -> Iterator[Doubt]:
    numbers = [c.client for c in contributions]
    for client in sorted({number for number in numbers if numbers.count(number) > 1}):
        yield Doubt("number", (client,), f"{numbers.count(client)} contributions are of client {client}")


def _schemas(contributions: Sequence[Contribution]) -> Iterator[Doubt]:
    """Those whose schema is not that of most; in a tie that of the first counts."""
    schemas = [c.schema for c in contributions]
    if not schemas:
        return
    usual = max(schemas, key=schemas.count)
    for c in contributions:
        if c.schema != usual:
            yield Doubt("schema", (c.client,), f"client {c.client} has {c.schema.difference(usual)} as the others")


def _encoders(contributions: Sequence[Contribution]) -> Iterator[Doubt]:
    """Class moments in another space than the first client's; of vectors themselves the schema says it."""
    told = [c for c in contributions if c.moments is not None]
    for c in told[1:]:
        try:
            require_one_space([told[0], c])
        except UsageError as error:
            yield Doubt("encoder", (c.client,), str(error))


def _counts(contributions: Sequence[Contribution]) -> Iterator[Doubt]:
    totals = [int(c.class_counts.sum()) for c in contributions]
    if not totals:
        return
    middle = median(totals)
    if not _alike(contributions):
        return
    sizes = cap(torch.stack([c.class_counts for c in contributions])).tolist()
    for c, total, size in zip(contributions, totals, sizes, strict=True):
        if size < 1:
            times = f"{total / middle:,.0f} times the median of {middle:,.0f}"
            yield Doubt("counts", (c.client,), f"client {c.client} says that it has {total:,} samples, {times}")


def _alike(contributions: Sequence[Contribution]) -> bool:
    """Whether all have as many classes."""
    return len({c.schema.num_classes for c in contributions}) == 1


def _copies(contributions: Sequence[Contribution]) -> Iterator[Doubt]:
    for i, j, parts in copied_parts(contributions):
        clients = (contributions[i].client, contributions[j].client)
        yield Doubt("copy", clients, f"client {clients[1]} has the {' and '.join(parts)} of client {clients[0]}")
