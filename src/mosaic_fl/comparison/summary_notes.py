"""What the figures of a summary do not show, one line each: missing results, caveats, how the intervals are taken."""

from collections.abc import Iterator

from mosaic_fl.comparison.grid import CENTRALISED
from mosaic_fl.comparison.interval import LEAST_SETS, LEVEL
from mosaic_fl.comparison.summary import Competitor, Points, Summary, SummaryRow


def summary_notes(points: Points, summary: Summary) -> list[str]:
    """The notes of a summary of `points`, those of all rows first."""
    return [
        "cells: " + ", ".join(f"{name} {count}" for name, count in summary.sets.items()),
        _intervals(summary),
        *_without_rank(points, summary),
        *_without_pooled(points),
        *_of_rows(points, summary),
    ]


def _intervals(summary: Summary) -> str:
    """How the intervals are taken."""
    percent = f"{100 * LEVEL:g} %"
    if len(summary.sets) >= LEAST_SETS:
        few = [
            str(row.competitor)
            for row in (*summary.rows, *summary.others)
            if any(figure and figure.over == "cells" for figure in (row.rank, row.gap))
        ]
        but = f"; over the cells of fewer than {LEAST_SETS} sets for {', '.join(few)}" if few else ""
        return f"{percent} intervals: Student's t over sets, for each figure alone{but}"
    sets = f"{len(summary.sets)} set{'s' * (len(summary.sets) > 1)}"
    return (
        f"{percent} intervals: Student's t over the cells of {sets}, for each figure alone; of other sets they say "
        f"nothing, which takes {LEAST_SETS} sets"
    )


def _without_rank(points: Points, summary: Summary) -> Iterator[str]:
    """The cells that count for no rank, and the methods that have none because some comparison lacks them."""
    rivals = [row.competitor for row in summary.rows]
    empty = sum(not any(entries[competitor].accuracies for competitor in rivals) for entries in points.values())
    if empty:
        yield f"{_share(empty, len(points))}: no method has a result, so they count for no rank"
    for row in summary.others:
        absent = sum(row.competitor not in entries for entries in points.values())
        if row.kind == "method":
            yield f"{row.competitor}: no rank, because {_share(absent, len(points))} are of comparisons without it"


def _without_pooled(points: Points) -> Iterator[str]:
    variants = dict.fromkeys(competitor.variant for entries in points.values() for competitor in entries)
    for variant in variants:
        pooled = Competitor(CENTRALISED, variant)
        count = sum(pooled not in entries or not entries[pooled].accuracies for entries in points.values())
        if count:
            yield f"{_share(count, len(points))} have no {pooled} model: they count for ranks and not for gaps"


def _of_rows(points: Points, summary: Summary) -> Iterator[str]:
    """The notes of single rows; rows of which the same holds share a line."""
    competitors = dict[str, list[str]]()
    for row in (*summary.rows, *summary.others):
        for line in _of_row(points, row, summary.cells):
            competitors.setdefault(line, []).append(str(row.competitor))
    for line, names in competitors.items():
        yield f"{', '.join(names)}: {line}"


def _of_row(points: Points, row: SummaryRow, cells: int) -> Iterator[str]:
    """Where the row's competitor has no result, has some seeds alone, or has conditions of its own."""
    entries = [of_point[row.competitor] for of_point in points.values() if row.competitor in of_point]
    empty = [entry for entry in entries if not entry.accuracies]
    if empty:
        reasons = list(dict.fromkeys(entry.reason for entry in empty if entry.reason))
        more = f" (and {len(reasons) - 1} more reasons)" if len(reasons) > 1 else ""
        rank = ", ranked last there" if row.rank else ""
        reason = f": {reasons[0]}{more}" if reasons else ""
        yield f"no result in {_share(len(empty), cells)}{rank}{reason}"
    partial = sum(0 < len(entry.accuracies) < entry.seeds for entry in entries)
    if partial:
        yield f"results of some seeds alone in {_share(partial, cells)}"
    caveats = dict.fromkeys(entry.caveat for entry in entries if entry.caveat)
    for caveat in caveats if not row.caveat else ():
        count = sum(entry.caveat == caveat for entry in entries)
        yield f"{caveat} in {_share(count, cells)}"


def _share(count: int, total: int) -> str:
    return f"{count} of {total} cells"
