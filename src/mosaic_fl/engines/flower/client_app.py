"""Flower's client app of a deployed site. The site's own file alone decides on its data and model."""

import logging
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from mosaic_fl.client.contribute import Site
from mosaic_fl.client.custody import Custody
from mosaic_fl.encoders.reading import load_own
from mosaic_fl.engines.flower.app import make_app
from mosaic_fl.engines.flower.client import Desk
from mosaic_fl.engines.flower.site import SiteFile, load_site
from mosaic_fl.errors import UsageError
from mosaic_fl.models import trust, trust_own
from mosaic_fl.numerics.devices import find_device
from mosaic_fl.registries import name_generator
from mosaic_fl.storage.keys import read_key


def site_desk(node_config: Any) -> Desk:
    """The desk for the node's site file; raises UsageError for a node that was started without one."""
    path = node_config.get("site")
    if not isinstance(path, str):
        raise UsageError("this node was started without a site file: use mosaic deploy client")
    site = load_site(Path(path))
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    signer = None if site.sign is None else read_key(site.sign)
    custody = Custody(site.limits, site.log, str(site.data), site.server.address)
    device = find_device(site.device)
    return Desk(site.client, lambda: open_site(site), device, site.folder, site.privacy, signer, custody)


@lru_cache(maxsize=1)
def open_site(site: SiteFile) -> Site:
    """The site's data and model; raises UsageError.

    Does not build the model for the data, which takes a second: the start of the node has checked that.
    """
    for spec in site.trust:
        trust_own(spec)
    if site.generator:
        name_generator(site.generator)
    data = load_own(site.data, site, site.federation(), site.schema_file, find_device(site.device))
    return Site(site.client, data, trust(site.model))


app = make_app(site_desk)
