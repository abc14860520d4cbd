"""Whether any client of a simulated run will have a generator, known as soon as the data is split."""

from collections.abc import Sequence

import torch

from mosaic_fl.client.choice import pick_family
from mosaic_fl.client.contribute import Site, split
from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.outcome import SAMPLES_OR_PRIOR
from mosaic_fl.server.checks import has_prior


def check_generators(config: Config, sites: Sequence[Site], device: torch.device) -> None:
    """Raise UsageError where all clients have too few training samples for the generators that the method lives on."""
    transfer, schema = METHODS[config.run.method].transfer, sites[0].data.schema
    if not transfer or (transfer == SAMPLES_OR_PRIOR and has_prior(config.distill, schema)):
        return
    most = 0
    for site in sorted(sites, key=lambda site: -len(site.data)):  # the first one settles it, as a rule
        samples = len(split(site, config)[0])
        if pick_family(config.generator, samples, schema, device)[0] != "none":
            return
        most = max(most, samples)
    prior = ", or say --prior photos" if transfer == SAMPLES_OR_PRIOR else ""
    raise UsageError(
        f"no client has the generator.min_samples = {config.generator.min_samples} training samples that a generator "
        f"needs (the largest has {most}), so there would be nothing to distil on: lower generator.min_samples, take "
        f"fewer clients{prior}"
    )
