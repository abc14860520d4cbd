"""The statistics of all sites -> one schema, with what to know about it."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from mosaic_fl.data.names import in_order, listing, numbers_of
from mosaic_fl.data.table.draft import TRUTH, Draft
from mosaic_fl.data.table.guess import REASONS
from mosaic_fl.data.table.knots import weighted_knots
from mosaic_fl.data.table.merging_remarks import class_remark, column_remark, who
from mosaic_fl.data.table.pooled import Pooled, folded, pool
from mosaic_fl.data.table.site_statistics import IGNORED, Statistics
from mosaic_fl.domains.schema import Schema
from mosaic_fl.domains.table import Column, Table
from mosaic_fl.domains.table.column import MAX_CATEGORIES, NUMBERS
from mosaic_fl.domains.table.kind import COMMA, POINT
from mosaic_fl.errors import UsageError
from mosaic_fl.notes import note


def merge(sites: Sequence[Statistics]) -> Draft:
    """The schema of all sites, whatever their order; `left_out` and `remarks` say what to know of it.

    A column that a site lacks, or may lack, has missing = true. A column that one site leaves out as an id, a text or a
    date is left out. Raises UsageError where two sites have one number, where one has numbers and another words for the
    classes, where a class is a missing value at a site, and where no two classes or no column are left.
    """
    ordered = sorted(sites, key=lambda site: site.client)
    if not ordered:
        raise UsageError("there are no statistics to merge: name the file of each site")
    for left, right in pairwise(ordered):
        if left.client == right.client:
            raise UsageError(f"two files are of client {left.client}: each site has a number of its own (--client)")
    label = _label(ordered)
    classes = _classes(ordered, label)
    missing = _missing(ordered)
    _require_present(classes, ordered)
    least = max((site.least for site in ordered if any(column.counts for column in site.columns)), default=1)
    columns = list[Column]()
    left_out = dict[str, str]()
    remarks = {label: text} if (text := class_remark(ordered)) else {}
    pooled = pool(ordered)
    partial = [column for column in pooled if column.lacking]
    for column in pooled:
        if elsewhere := [site.client for site in ordered if site.label == column.name]:
            left_out[column.name] = f"{who(elsewhere)} has its classes in a column of this name: rename one"
            continue
        drafted = _column(column, least)
        if isinstance(drafted, str):
            left_out[column.name] = drafted
            continue
        columns.append(drafted)
        if text := column_remark(column, partial):
            remarks[column.name] = text
    if not columns:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3])
        raise UsageError(f"the sites have no column to learn from ({reasons})")
    decimal = COMMA if any(site.decimal == COMMA for site in ordered) else POINT
    return Draft(Schema({Table.name: Table(tuple(columns), label, missing, decimal)}, classes), left_out, remarks)


def _label(sites: Sequence[Statistics]) -> str:
    """The name of the column of classes at most sites, the first of the alphabet of several; a note names others."""
    counts = Counter(site.label for site in sites)
    label = min(counts, key=lambda name: (-counts[name], name))
    if others := [f"{site.label!r} (client {site.client})" for site in sites if site.label != label]:
        note(
            f"the classes are in the column {label!r}, and at other sites in {listing(others, 5)}: these say "
            "--label-column with their own name when they contribute"
        )
    return label


def _missing(sites: Sequence[Statistics]) -> tuple[str, ...]:
    """The words for a missing value at any site; a note says where sites differ in them."""
    words = tuple(dict.fromkeys(word for site in sites for word in site.missing))
    if len({frozenset(site.missing) for site in sites}) > 1:
        note(
            f"sites differ in the words for a missing value: in the schema all of these are such ({listing(words)}), "
            "also where a site counted one as a value"
        )
    return words


def _require_present(classes: Sequence[str], sites: Sequence[Statistics]) -> None:
    """Raise UsageError where a class is a word for a missing value at a site: its rows would have no label."""
    users = {word: site.client for site in sites for word in folded(site.missing)}
    for name, word in zip(classes, folded(classes), strict=True):
        if word in users:
            raise UsageError(
                f"the class {name!r} is a word for a missing value at client {users[word]}: name other words there "
                "(--missing)"
            )


def _classes(sites: Sequence[Statistics], label: str) -> tuple[str, ...]:
    forms = dict[str, Statistics]()
    for site in sites:
        if site.classes:
            forms.setdefault(_form(list(site.classes)), site)
    if len(forms) > 1:
        lines = [f"{form} at client {site.client} ({listing(list(site.classes), 3)})" for form, site in forms.items()]
        raise UsageError(f"the classes in {label!r} are {' and '.join(lines)}: write them alike at all sites")
    classes = in_order(name for site in sites for name in site.classes)
    if len(classes) < 2:
        raise UsageError(
            f"the sites tell of {len(classes)} class{'es' * (len(classes) != 1)} in {label!r}: a classifier needs two "
            "that enough rows of a site have; lower --least-rows there, or say which are public: --public"
        )
    return classes


def _form(classes: Sequence[str]) -> str:
    """How a site names its classes: a reader takes numbers for positions where the classes are words."""
    if {name.casefold() for name in classes} <= {*TRUTH}:
        return "truth values"
    return "words" if numbers_of(classes) is None else "numbers"


def _column(column: Pooled, least: int) -> Column | str:
    """The column for all sites, or the reason why it is left out."""
    for kind in (IGNORED, *REASONS):
        clients = [client for client, part in column.parts.items() if part.type == kind]
        if clients and kind == IGNORED:
            return f"{who(clients)} leave{'s' * (len(clients) == 1)} it out"
        if clients and kind != "empty":
            return f"{REASONS[kind]} ({who(clients)})"
    if not column.voters:
        return REASONS["empty"]
    kind = column.type
    if not kind:
        return _conflict(column)
    if column.is_constant and kind != "boolean":
        values = {(part.points, part.categories) for part in column.voters.values()}
        if len(values) == 1:
            return "it is constant at all sites: it says nothing"
        return "it is constant at each site, so that it names the site: write it by hand where models should know it"
    if kind == "boolean":
        return Column(column.name, kind, missing=column.may_miss)
    return _of_numbers(column, kind, least) if kind in NUMBERS else _of_words(column, least)


def _conflict(column: Pooled) -> str:
    numbers = [client for client, part in column.voters.items() if part.type in NUMBERS]
    words = [client for client in column.voters if client not in numbers]
    names = in_order(word for client in words for word in column.voters[client].categories)
    shown = f" ({listing(names, 3)})" if names else ""
    return (
        f"{who(numbers)} has numbers and {who(words)} words{shown}: write it alike at all sites, or name words for a "
        "missing value there (--missing)"
    )


def _of_numbers(column: Pooled, kind: str, least: int) -> Column | str:
    points, counts = column.numbers
    ranges = [part.range for part in column.voters.values() if part.range is not None]
    knots = weighted_knots(points, counts, least, whole=kind == "whole")
    if len(knots) < 2 and ranges:
        knots = (min(low for low, _ in ranges), max(high for _, high in ranges))
    if len(knots) < 2:
        return f"too few of its values have {least} rows behind them at any site: write low, high and knots by hand"
    low = min([knots[0], *(low for low, _ in ranges)])
    high = max([knots[-1], *(high for _, high in ranges)])
    return Column(column.name, kind, low=low, high=high, knots=knots, missing=column.may_miss)


def _of_words(column: Pooled, least: int) -> Column | str:
    if not column.names:
        return f"none of its categories has {least} rows at any site: write them by hand, or as --public"
    if len(column.names) > MAX_CATEGORIES:
        return REASONS["text"]
    return Column(column.name, "category", categories=in_order(column.names), missing=column.may_miss)
