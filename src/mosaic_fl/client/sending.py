"""One contribution that leaves by a file or in Python: admitted before the work, in the log before it is out."""

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.client.custody import CONTRIBUTION, Custody
from mosaic_fl.config import Config
from mosaic_fl.exchange.contents import present
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.privacy import Statement


def admit(custody: Custody, site: Site, config: Config, device: torch.device) -> None:
    """Log that the data are read; raises RefusalError, before any work, for what limits or a spent budget forbid."""
    privacy = config.privacy
    custody.check(site, config, device, CONTRIBUTION)
    custody.foresee(site, CONTRIBUTION, Statement(privacy.epsilon, privacy.delta) if privacy.epsilon else None)
    custody.read(site)


def record(custody: Custody, site: Site, contribution: Contribution, content: bytes) -> None:
    """Log that the contribution leaves as `content`; raises RefusalError where a budget does not allow it."""
    fields = [item.name for item in present(contribution) if item.name != "validation"]
    found = {} if contribution.audit is None else {"audit": contribution.audit.summary}
    custody.release(site, CONTRIBUTION, content, contribution.privacy, fields=fields, **found)
