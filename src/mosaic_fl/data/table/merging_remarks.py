"""What the statistics of several sites show beside a schema: units, lacking columns, names that differ in form."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mosaic_fl.data.names import fold, in_order, listing
from mosaic_fl.data.table.knots import Counts
from mosaic_fl.data.table.pooled import Pooled
from mosaic_fl.data.table.rows import FAR, LEAST
from mosaic_fl.data.table.site_statistics import ColumnStatistics, Statistics
from mosaic_fl.data.table.values import Values, nearest
from mosaic_fl.domains.table.column import NUMBERS

MOST = 5  # names, or clients, that a remark lists
MOST_NAMES = 50  # that a lacking one is compared with: the time grows with their number
TAIL = 0.02  # share of the others' values on each side beyond which a value is far from them


def who(clients: Sequence[int]) -> str:
    """These clients in words."""
    return f"client{'s' * (len(clients) > 1)} {listing(clients, MOST)}"


def class_remark(sites: Sequence[Statistics]) -> str:
    """What to know about the classes; "" for nothing."""
    lines = list(_alike({name for site in sites for name in site.classes}))
    tell = [site for site in sites if site.classes]
    lines += _alone({site.client: set(site.classes) for site in tell}, "the class", "classes")
    if rare := {site.client: count for site in sites if (count := _unread(site))}:
        lines.append(f"{sum(rare.values())} rows of {who(list(rare))} have classes of too few rows, which are left out")
    return "; ".join(lines)


def _unread(site: Statistics) -> int:
    return site.rows - sum(site.classes.values()) if site.epsilon is None else 0


def column_remark(column: Pooled, partial: Sequence[Pooled]) -> str:
    """What to know about a column of the schema; "" for nothing. `partial` are the columns that some site lacks."""
    lines = []
    if lacking := column.lacking:
        others = [other.name for other in partial[:MOST_NAMES] if lacking[0] in other.parts]
        near = nearest(column.name, others)
        only = f"; {who(list(column.parts))} alone has it" if len(column.parts) == 1 else ""
        hint = f" (there is {near!r}: rename it if it is the same)" if near else ""
        lines.append(f"{who(lacking)} lack{'s' * (len(lacking) == 1)} it{hint}, where it counts as missing{only}")
    if column.type in NUMBERS:
        lines += _units(column)
    elif column.type == "category":
        lines += _alike(column.names)
        words = {client: set(part.categories) for client, part in column.voters.items()}
        lines += _alone(words, "the category", "categories")
        if column.rare:
            lines.append(
                f"{column.rare} row{'s' * (column.rare > 1)} in categories of too few rows: missing; add those by hand "
                "that all sites may know"
            )
    if all(part.copies for part in column.voters.values()):
        lines.append("each of its values belongs to one class: is it the label under another name? Then leave it out")
    return "; ".join(lines)


def _alike(names: Iterable[str]) -> Iterator[str]:
    """Names that differ in nothing but form."""
    forms = defaultdict[str, list[str]](list)
    for name in in_order(names):
        forms[fold(name)].append(name)
    for same in forms.values():
        if len(same) > 1:
            yield f"{' and '.join(map(repr, same[:MOST]))} differ in form alone: write them alike if they are the same"


def _alone(words: dict[int, set[str]], one: str, many: str) -> Iterator[str]:
    """The words that one of several sites alone has."""
    counts = Counter(word for names in words.values() for word in names)
    for client, names in words.items() if len(words) > 1 else ():
        if alone := in_order(name for name in names if counts[name] == 1):
            yield f"client {client} alone has {one if len(alone) == 1 else many} {listing(alone, MOST)}"


def _units(column: Pooled) -> Iterator[str]:
    """The medians of all sites where one site's values lie far from those of the others."""
    parts = {client: part for client, part in column.voters.items() if sum(part.counts) >= LEAST and part.points}
    for client, part in parts.items():
        rest = [other for number, other in parts.items() if number != client]
        if not rest:
            return
        points = np.concatenate([other.points for other in rest])
        low, high = _quantiles(points, np.concatenate([other.counts for other in rest]), (TAIL, 1 - TAIL))
        own = np.array(part.points)
        counts = np.array(part.counts)
        if counts[(own < low) | (own > high)].sum() > FAR * counts.sum():
            medians = [f"{_median(other):g} at client {number}" for number, other in parts.items()]
            yield f"its values are far apart (medians {listing(medians, MOST)}): compare the units"
            return


def _median(part: ColumnStatistics) -> float:
    return _quantiles(np.array(part.points), np.array(part.counts), (0.5,))[0]


def _quantiles(points: Values, counts: Counts, shares: Sequence[float]) -> list[float]:
    """The points at these shares of the rows."""
    order = np.argsort(points, kind="stable")
    sums = np.cumsum(counts[order])
    places = np.searchsorted(sums, [share * sums[-1] for share in shares])
    return [float(points[order][place]) for place in places]
