"""What is odd about contributions beside each other, before any work: pure functions from contributions to doubts.

A doubt is no proof: it is for a person who looks at files. None of it reads what a model answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, sqrt
from statistics import median

import torch

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.numerics.states import State
from mosaic_fl.server.agreement import require_one_space

LARGEST = 10
"""Times the median number of samples beyond which a client's is doubted: honest clients have 1.5, liars 800."""
FEWEST = 3  # clients of which a median says something
COPY = 1e-3  # relative distance of two models' weights below which one is a copy


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
    if len(totals) < FEWEST:
        return
    middle = median(totals)
    for c, total in zip(contributions, totals, strict=True):
        if total > LARGEST * middle:
            times = f"{total / middle:,.0f} times the median of {middle:,.0f}"
            yield Doubt("counts", (c.client,), f"client {c.client} says that it has {total:,} samples, {times}")


def _copies(contributions: Sequence[Contribution]) -> Iterator[Doubt]:
    for first, second in combinations(contributions, 2):
        if first.client == second.client:  # one file twice, which the numbers tell
            continue
        parts = {
            "model": first.architecture == second.architecture and distance(first.expert, second.expert) < COPY,
            "generator": first.generator_spec == second.generator_spec
            and distance(first.generator or {}, second.generator or {}) < COPY,
        }
        if same := " and ".join(name for name, copied in parts.items() if copied):
            clients = (first.client, second.client)
            yield Doubt("copy", clients, f"client {second.client} has the {same} of client {first.client}")


def distance(first: State, second: State) -> float:
    """‖first − second‖ / ‖first‖ over all weights; infinite where names or shapes differ, and without any weight.

    Whole numbers, as the bytes of an ONNX model, must be equal.
    """
    names = first.keys()
    if not names or names != second.keys() or any(first[n].shape != second[n].shape for n in names):
        return inf
    weights = [n for n in names if first[n].is_floating_point() and second[n].is_floating_point()]
    if not weights:
        return 0.0 if all(torch.equal(first[n], second[n]) for n in names) else inf
    gap = sum(float((first[n].double() - second[n].double()).square().sum()) for n in weights)
    size = sum(float(first[n].double().square().sum()) for n in weights)
    return sqrt(gap / size) if size else (inf if gap else 0.0)
