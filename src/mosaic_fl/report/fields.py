"""Which fields each client's samples have, in lines."""

from collections.abc import Sequence

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


def _held(samples: Samples, name: str) -> str:
    count = int(samples.having(name).sum())
    return name if count == len(samples) else f"{name} ({count:,} of {len(samples):,})"
