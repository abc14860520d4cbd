"""Statistics of a site's table: by its limits before the work, in its log before they are out."""

import hashlib

from mosaic_fl.client.custody import STATISTICS, Custody, Thing
from mosaic_fl.data.table.frame import Frame
from mosaic_fl.data.table.noise import DELTA
from mosaic_fl.data.table.site_statistics import Statistics
from mosaic_fl.data.table.survey import Survey, survey
from mosaic_fl.exchange.privacy import Statement
from mosaic_fl.exchange.seal import Seal


def told_of(
    frame: Frame, label: str, how: Survey, custody: Custody, table: Thing, seal: Seal | None = None
) -> tuple[Statistics, bytes]:
    """(the statistics of a table, the bytes that leave by `seal`), which its log knows as `table`.

    Raises RefusalError for what the limits forbid or a budget does not allow, UsageError as `survey`.
    """
    private = how.epsilon is not None
    custody.check_statistics(len(frame), how.least, private=private)
    told = survey(frame, label, how)
    plain = told.to_bytes()
    content = plain if seal is None else seal.close(plain, how.client)
    statement = None if how.epsilon is None else Statement(how.epsilon, DELTA)
    custody.release(table, STATISTICS, content, statement, hashlib.sha256(plain).hexdigest())
    return told, content
