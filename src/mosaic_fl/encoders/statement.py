"""What every result says of a public encoder: its name, its digest, and what it was trained on."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.vector import Vector
from mosaic_fl.encoders.bundle import Bundle, size_of
from mosaic_fl.encoders.naming import trained_on


def encoder_figures(schema: Schema, bundle: Bundle = MappingProxyType({})) -> dict[str, Any]:
    """{"encoder": {"name", "digest", "trained_on"}} where a field is of an encoder's vectors; else empty.

    `bundle` is that of the model's file; with one, "bundled" is its size in bytes.
    """
    for kind in schema.fields.values():
        if isinstance(kind, Vector) and kind.encoder:
            held = {"bundled": size_of(bundle)} if bundle else {}
            return {"encoder": {"name": kind.encoder, "digest": kind.digest, "trained_on": trained_on(kind), **held}}
    return {}


def encoder_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a result, the content of `result.json`, that name its public encoder."""
    if (moments := (result.get("choice") or {}).get("moments")) is not None:
        encoder = moments["encoder"]
        clients = len(moments["clients"])
        told = f"{clients} of {clients + len(moments['without'])} clients"
        yield f"Public encoder: {encoder['name']} (trained on {encoder['trained_on']}), class moments of {told}"
    if (encoder := result.get("encoder")) is not None:
        held = f", {encoder['bundled']:,} bytes in the model's file" if "bundled" in encoder else ""
        yield f"Public encoder: {encoder['name']} (trained on {encoder['trained_on']}){held}"
