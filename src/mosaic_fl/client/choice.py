"""The generator that a client trains: its family (`generator.family = auto`), the reason, and the training steps."""

import math
from collections.abc import Mapping

import torch

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.base import fields_drawn
from mosaic_fl.generators.flow import MAX_FLOW_LATENT
from mosaic_fl.registries import GENERATORS, MEASURED, NO_FAMILY

FIRST = "cvae"  # the family for kinds that no other draws
LEAST_VALIDATION = 30  # samples: with fewer, families are not compared
FLOW_SAMPLES = 1000  # with fewer a flow memorises its samples before it generalises


def pick_family(config: GeneratorConfig, samples: int, schema: Schema, device: torch.device) -> tuple[str, str]:
    """(family, reason) for a client of `samples` training samples; the family is "none" where it trains no generator.

    `auto` is a family that draws such samples. Of those for images it is `flow` where there is an accelerator, a VAE
    draws the samples badly, and there are enough of them. Else it is `cvae`, which learns from few samples within a
    minute on a CPU. With `measured` it is the first of those that are
    compared, see `rivals`.
    """
    if config.family == "none":
        return "none", "generator.family is none"
    if samples < config.min_samples:
        count = f"{samples} training sample{'s' * (samples != 1)}"
        return "none", f"{count}, fewer than generator.min_samples = {config.min_samples}"
    if config.family not in ("auto", MEASURED):
        return config.family, "generator.family says so"
    kinds = {name: GENERATORS.received(name).kinds or frozenset[str]() for name in GENERATORS.local_names}
    drawing = [name for name, drawn in kinds.items() if schema.kind.name in drawn]
    if drawing and FIRST not in drawing:
        return drawing[0], f"it draws samples of the kind {schema.kind.name}"
    if device.type == "cpu":
        return "cvae", "a flow would take too long without an accelerator"
    if schema.kind.drawn_well:
        return "cvae", "a VAE draws such samples well"
    if math.prod(schema.shape) > MAX_FLOW_LATENT:
        return "cvae", f"samples of {math.prod(schema.shape)} values, too large for a flow (at most {MAX_FLOW_LATENT})"
    if samples < FLOW_SAMPLES:
        return "cvae", f"{samples} training samples, too few for a flow (at least {FLOW_SAMPLES})"
    return "flow", f"samples that a VAE draws badly, {samples} of them, and an accelerator"


def pick_by_field(
    config: GeneratorConfig, samples: Mapping[str, int], schema: Schema, device: torch.device
) -> dict[str, tuple[str, str]]:
    """(family, reason) for each field, of `samples` that have it; see `pick_family`.

    A family that the configuration names draws the fields of its kinds; for the others it is as with auto. Raises
    UsageError where it draws none of these fields.
    """
    able = list(samples)
    if config.family not in NO_FAMILY:
        able = fields_drawn(config.family, schema.part(able))
    free = config.model_copy(update={"family": "auto"})
    return {
        name: pick_family(config if name in able else free, count, schema.part([name]), device)
        for name, count in samples.items()
    }


def rivals(config: GeneratorConfig, samples: int, validation: int, classes: int, schema: Schema) -> list[str]:
    """The families that `measured` compares with that of `pick_family`, for a client of `samples` training samples.

    Families say from how many samples on they are. They are compared on `validation` samples of so many `classes`;
    with few of these, or a single class, there is no rival.
    """
    if config.family != MEASURED or validation < LEAST_VALIDATION or classes < 2 or schema.joins or not schema.of_rows:
        return []
    families = {name: GENERATORS.received(name) for name in GENERATORS.local_names}
    return [
        name
        for name, family in families.items()
        if schema.kind.name in (family.kinds or ()) and family.rival_from is not None and samples >= family.rival_from
    ]


def best(losses: Mapping[str, float], samples: int) -> tuple[str, str]:
    """(family, reason): that of the least log-loss in nats on so many validation samples, of equals the first."""
    family = min(losses, key=lambda name: losses[name])
    figures = ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
    return family, f"log-loss on {samples} validation samples of what its samples teach: {figures}"
