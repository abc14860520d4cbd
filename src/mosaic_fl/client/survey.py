"""Statistics of a site's table: by its limits before the work, in its log before they are out."""

from mosaic_fl.client.custody import STATISTICS, Custody, Thing
from mosaic_fl.data.table.frame import Frame
from mosaic_fl.data.table.noise import DELTA
from mosaic_fl.data.table.site_statistics import Statistics
from mosaic_fl.data.table.survey import Survey, survey
from mosaic_fl.exchange.privacy import Statement


def told_of(frame: Frame, label: str, how: Survey, custody: Custody, table: Thing) -> tuple[Statistics, bytes]:
    """(the statistics of a table, the bytes that leave), which its log knows as `table`.

    Raises RefusalError for what the limits forbid or a budget does not allow, UsageError as `survey`.
    """
    private = how.epsilon is not None
    custody.check_statistics(len(frame), how.least, private=private)
    told = survey(frame, label, how)
    content = told.to_bytes()
    statement = None if how.epsilon is None else Statement(how.epsilon, DELTA)
    custody.release(table, STATISTICS, content, statement)
    return told, content
