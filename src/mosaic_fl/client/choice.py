"""Which generator a client trains, why (`generator.family = auto`), and for how long."""

import math

import torch

from mosaic_fl.config import GeneratorConfig
from mosaic_fl.domains.schema import Schema
from mosaic_fl.generators.flow import MAX_FLOW_LATENT

FLOW_SAMPLES = 1000  # below this a flow learns its samples by heart before it learns to draw


def pick_family(config: GeneratorConfig, samples: int, schema: Schema, device: torch.device) -> tuple[str, str]:
    """(family, why) for a client of `samples` training samples; the family is "none" where it is to train none.

    `auto` is `flow` where there is an accelerator to train it, samples that a VAE draws badly, and
    enough of them to fill it, else `cvae`, which learns from few samples within a minute on a CPU.
    """
    if config.family == "none":
        return "none", "generator.family is none"
    if samples < config.min_samples:
        held = f"{samples} training sample{'s' * (samples != 1)}"
        return "none", f"{held}, fewer than generator.min_samples = {config.min_samples}"
    if config.family != "auto":
        return config.family, "generator.family says so"
    if device.type == "cpu":
        return "cvae", "a flow would take too long without an accelerator"
    if schema.kind.drawn_well:
        return "cvae", "a VAE draws such samples well"
    if math.prod(schema.shape) > MAX_FLOW_LATENT:
        return "cvae", f"samples of {math.prod(schema.shape)} values, too large for a flow (at most {MAX_FLOW_LATENT})"
    if samples < FLOW_SAMPLES:
        return "cvae", f"{samples} training samples, too few for a flow (at least {FLOW_SAMPLES})"
    return "flow", f"samples that a VAE draws badly, {samples} of them, and an accelerator"


def generator_steps(config: GeneratorConfig, samples: int) -> int:
    """Steps of training for a client of `samples` training samples: `epochs` passes over them, or else `steps`."""
    if not config.epochs:
        return config.steps
    return max(1, round(config.epochs * math.ceil(samples / config.batch_size)))
