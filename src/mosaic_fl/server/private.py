"""The server's part in a private run: who says less than the run asks for is not used."""

from collections.abc import Sequence

from mosaic_fl.config import Config
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution


def require_private(contributions: Sequence[Contribution], config: Config) -> None:
    """Raise UsageError where the settings have an ε and a contribution has none, or a larger ε or δ."""
    privacy = config.privacy
    if not privacy.epsilon:
        return
    for contribution in contributions:
        own = contribution.privacy
        if own is None or own.epsilon > privacy.epsilon or own.delta > privacy.delta:
            has = "no differential privacy" if own is None else own.summary
            raise UsageError(
                f"client {contribution.client} sent a contribution of {has}, and this run asks for "
                f"ε = {privacy.epsilon:g}, δ = {privacy.delta:g}: let it contribute with these (--epsilon, --delta)"
            )
