"""Which fields each client's samples have, and how good a model is with some of them, in lines."""

from collections.abc import Mapping, Sequence
from typing import Any

from mosaic_fl.domains.samples import Samples


def field_lines(clients: Sequence[Samples]) -> list[str]:
    """A line for all clients with the same fields, as "clients 0, 3: left, right"; none for samples of one field.

    A field that some of a client's samples lack comes with their number, as "xray (80 of 100)".
    """
    if len(clients[0].kinds) == 1:
        return []
    holders = dict[str, list[int]]()
    for client, samples in enumerate(clients):
        holders.setdefault(", ".join(_held(samples, name) for name in samples.fields), []).append(client)
    return [f"client{'s' * (len(who) > 1)} {', '.join(map(str, who))}: {fields}" for fields, who in holders.items()]


def subset_lines(result: Mapping[str, Any]) -> list[str]:
    """The accuracy with each subset of the fields, as "With left alone: 92.1 %"; none for samples of one field."""
    rows = result.get("by_fields") or []
    return [f"With {_words(row['fields'])}: {100 * row['accuracy']:.1f} %" for row in rows]


def _words(names: Sequence[str]) -> str:
    return f"{names[0]} alone" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _held(samples: Samples, name: str) -> str:
    count = int(samples.having(name).sum())
    return name if count == len(samples) else f"{name} ({count:,} of {len(samples):,})"
