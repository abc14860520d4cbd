"""What every result says of a public encoder: its name, its digest, and what it was trained on."""

from collections.abc import Iterator, Mapping
from typing import Any

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.naming import trained_on


def encoder_figures(schema: Schema) -> dict[str, Any]:
    """{"encoder": {"name", "digest", "trained_on"}} where a field is of an encoder's vectors; else empty."""
    for kind in schema.fields.values():
        if isinstance(kind, Vector) and kind.encoder:
            return {
                "encoder": {"name": kind.encoder, "digest": kind.digest, "trained_on": trained_on(kind)},
            }
    return {}


def encoder_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a result, the content of `result.json`, that name its public encoder."""
    if (moments := (result.get("choice") or {}).get("moments")) is not None:
        encoder = moments["encoder"]
        clients = len(moments["clients"])
        told = f"{clients} of {clients + len(moments['without'])} clients"
        yield f"Public encoder: {encoder['name']} (trained on {encoder['trained_on']}), class moments of {told}"
    if (encoder := result.get("encoder")) is not None:
        yield f"Public encoder: {encoder['name']} (trained on {encoder['trained_on']})"
