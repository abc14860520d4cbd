"""Checks that clients have the data that a method needs. They run after the partition, before any client trains."""

from collections.abc import Sequence

import torch

from mosaic_fl.client.contribute import Site, split
from mosaic_fl.client.generators import trainees
from mosaic_fl.client.private_plan import check_plan
from mosaic_fl.config import Config
from mosaic_fl.config.checks import asks_meta
from mosaic_fl.errors import UsageError
from mosaic_fl.experts.reading import check_fields
from mosaic_fl.generators.base import require_kind
from mosaic_fl.methods import METHODS
from mosaic_fl.methods.card import SAMPLES_OR_PRIOR
from mosaic_fl.runs.privacy import note_weak_signal
from mosaic_fl.server.checks import has_samples
from mosaic_fl.server.transfer import has_prior


def check_sites(config: Config, sites: Sequence[Site], device: torch.device) -> None:
    """Raise UsageError where a model does not fit its fields, privacy does not cover samples, or all are too few."""
    for site in sites:
        if site.data.schema.joins:
            try:
                check_fields(site.architecture, site.data.schema, site.data.samples.fields)
            except UsageError as error:
                raise UsageError(f"client {site.client}: {error}") from error
    if config.privacy.epsilon:
        for model in sorted({site.architecture for site in sites}):
            check_plan(sites[0].data.schema, model, config)
        for site in sites:
            note_weak_signal(site, config)
    check_generators(config, sites, device)
    check_validation(config, sites)


def check_generators(config: Config, sites: Sequence[Site], device: torch.device) -> None:
    """Raise UsageError where the method needs a generator and no client has enough training samples to train one.

    Raises UsageError, too, where generators of that family draw no such samples.
    Some methods work with prior images in place of generators. A meta model that learns from samples needs a generator.
    """
    card = METHODS[config.run.method]
    schema = sites[0].data.schema
    transfer = card.transfer
    prior = transfer == SAMPLES_OR_PRIOR
    meta = card.fuses and asks_meta(config)
    drawn = has_samples(config, schema) if card.fuses else has_prior(config.distill, schema)
    if not transfer or (prior and drawn and not meta):
        return
    most = 0
    for site in sorted(sites, key=lambda site: -len(site.data)):  # the largest client first: it mostly decides
        train = split(site, config)[0]
        for trainee in trainees(train, None, config.generator, device):
            if trainee.family != "none":
                require_kind(trainee.family, trainee.data.schema)
                return
        most = max(most, len(train))
    use = "that a meta model could learn from" if meta else "to distil on"
    raise UsageError(
        f"no client has the generator.min_samples = {config.generator.min_samples} training samples that a generator "
        f"needs (the largest has {most}), so there would be nothing {use}: lower generator.min_samples, take "
        f"fewer clients{', or say --prior photos (of tables: uniform)' if prior and not meta else ''}"
    )


def check_validation(config: Config, sites: Sequence[Site]) -> None:
    """Raise UsageError where the method uses the clients' validation samples and no client has one."""
    card = METHODS[config.run.method]
    chooses = card.fuses and config.distill.choose is True
    if not (card.real_data or chooses) or any(len(split(site, config)[1]) for site in sites):
        return
    raise UsageError(
        f"no client holds a validation sample back, by which {'distill.choose' if chooses else card.title} decides: of "
        f"a class that is a share of data.validation = {config.data.validation}, rounded down; raise it, or take fewer "
        "clients"
    )
