"""A deployed site scores the global model beside its own, and says in its log whether it gains."""

import logging

from mosaic_fl.client.contribute import split
from mosaic_fl.client.custody import Custody
from mosaic_fl.client.scoring import Judged, gain_line, score
from mosaic_fl.engines.tasks import Workplace
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.score_names import GLOBAL, OWN
from mosaic_fl.exchange.site_scores import SiteScores
from mosaic_fl.experts.no_model import has_model

log = logging.getLogger("mosaic_fl.client")


def scores_at(
    place: Workplace, client: int, model: GlobalModel, own: Contribution | None, custody: Custody
) -> SiteScores | None:
    """The scores of the global model and of the site's `own`, on what it held back; None where these are too few."""
    _, validation = split(place.sites[client], place.config)
    if len(validation) < custody.least:
        return None
    judged = [Judged(GLOBAL, model.expert())]
    try:
        if own is not None and not own.is_black_box and has_model(own.architecture):
            judged.append(Judged(OWN, own.build_expert()))
        scores = score(client, validation, judged, custody.least, place.device)
    except MosaicError as error:  # the delivery counts, whatever becomes of the figures
        log.warning("client %s: no scores: %s", client, error)
        return None
    if line := gain_line(scores):
        log.info("client %s: %s", client, line)
    return scores
