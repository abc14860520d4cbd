"""Several comparisons as the points of one summary: which have the same data, and which points count."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mosaic_fl.comparison.reading import Comparison
from mosaic_fl.comparison.summary import Competitor, Entry, Point, Points
from mosaic_fl.errors import UsageError
from mosaic_fl.storage.files import path_text


def merge(comparisons: Sequence[tuple[str, Comparison]]) -> tuple[Points, list[str]]:
    """(the points of all comparisons, notes), where each comparison is preceded by its variant, or an empty text.

    With several variants only points that all of them have are taken, so that they are paired; a note counts the
    others. Raises UsageError where two comparisons of one variant have a point in common, and where no point is left.
    """
    contents, notes = _points_of([comparison for _, comparison in comparisons])
    by_variant = dict[str, dict[Point, dict[Competitor, Entry]]]()
    origin = dict[tuple[str, Point], str]()  # the folder that a variant's point came from
    for (variant, comparison), entries_of in zip(comparisons, contents, strict=True):
        name = path_text(comparison.folder)
        own = by_variant.setdefault(variant, {})
        if comparison.pending:
            notes.append(f"{name}: {comparison.pending} of {comparison.total} runs are still to come")
        for point, entries in entries_of.items():
            if point in own:
                raise UsageError(
                    f"{origin[variant, point]} and {name} both have the cell {point}: leave one of them out, or write "
                    "NAME=FOLDER to compare them as two variants"
                )
            origin[variant, point] = name
            own[point] = {Competitor(method, variant): entry for method, entry in entries.items()}
    common = [point for point in next(iter(by_variant.values())) if all(point in own for own in by_variant.values())]
    titles = {variant: variant or "the folders without a name" for variant in by_variant}
    for variant, own in by_variant.items():
        if alone := len(own) - len(common):
            notes.append(f"{alone} of {len(own)} cells of {titles[variant]} are not in every variant, and left out")
    if not common:
        names = " and ".join(titles.values())
        raise UsageError(f"{names} have no cell in common: name comparisons of the same data, clients and rounds")
    points = dict[Point, dict[Competitor, Entry]]()
    for point in common:
        for own in by_variant.values():
            points.setdefault(point, {}).update(own[point])
    return points, notes


def _points_of(comparisons: Sequence[Comparison]) -> tuple[list[dict[Point, Mapping[str, Entry]]], list[str]]:
    """(the points of each comparison, notes), with data and conditions that are equal where the data are the same.

    Conditions that all comparisons of a data set share are in the notes instead of the points.
    """
    labels = list[tuple[str, str, str]]()  # the data's name, what tells them from others of that name, their settings
    for number, comparison in enumerate(comparisons):
        earlier = list(zip(comparisons[:number], labels, strict=True))
        equal = [label for other, label in earlier if comparison.inputs and other.inputs == comparison.inputs]
        mark = f" {comparison.inputs[:8]}" if any(_differ(comparison, other) for other, _ in earlier) else ""
        labels.append(equal[0] if equal else (comparison.data, mark, comparison.conditions))
    titles = _short([data for data, _, _ in labels])
    places = [
        (f"{title}{mark}", ", ".join(filter(None, [conditions, comparison.split_conditions])))
        for comparison, title, (_, mark, conditions) in zip(comparisons, titles, labels, strict=True)
    ]
    conditions_of = {data: {own for other, own in places if other == data} for data, _ in places}
    notes = [f"{data}: {own}" for data, texts in conditions_of.items() if len(texts) == 1 for own in texts if own]
    points = [
        {
            replace(point, data=data, conditions=own if len(conditions_of[data]) > 1 else ""): entries
            for point, entries in comparison.entries.items()
        }
        for comparison, (data, own) in zip(comparisons, places, strict=True)
    ]
    return points, notes


def _differ(comparison: Comparison, other: Comparison) -> bool:
    """Whether data of one name are surely not the same.

    A hash is of the data of all seeds, so that hashes of other seeds say nothing.
    """
    same_settings = (comparison.data, comparison.conditions, comparison.seeds)
    return same_settings == (other.data, other.conditions, other.seeds) and comparison.inputs != other.inputs


def _short(names: Sequence[str]) -> list[str]:
    """Names of data sets without what only says where they lie: the last parts of paths, unless two have the same."""
    short = {name: name.removeprefix("hub:") if name.startswith("hub:") else Path(name).name or name for name in names}
    taken = list(short.values())
    return [short[name] if taken.count(short[name]) == 1 else name for name in names]
