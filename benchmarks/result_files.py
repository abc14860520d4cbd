"""The files behind RESULTS.md, one a claim: benchmarks/results/NAME.toml. A benchmark with --save fills in its own.

order = 10                    # place in RESULTS.md
chapter = "The demo"          # claims of one chapter stand together
title = "Five sites, five architectures"
claim = "One sentence."
setting = "A sentence or two: data, sites, seeds."
command = "python benchmarks/demo.py"
version = "0.8.0"             # of mosaic-fl that was measured
commit = "d66965c"            # may be left out; not shown
digits = 1                    # of means, may be left out
strong = ["student"]          # rows or columns in bold, may be left out
columns = ["", "accuracy, %"]
rows = [
    ["student", [98.9, 98.7]],  # a list has a figure a seed, and is shown as mean ± std; all else as it stands
]
notes = ["A sentence."]       # may be left out

[[figures]]                   # what the claim stands on; the first one stands in the table at the top
what = "student, mean of two seeds"
of = ["student", "accuracy, %"]  # a cell, "*" for every row; or value = 98.8; neither: not measured
minus = ["*", "…"]            # may be left out: the difference, seed by seed
take = "mean"                 # or least, most, median of all
at_least = 97                 # or at_most, equals; without one there is no target
unit = "%"
"""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "results"
NEEDED = {
    "order": int, "chapter": str, "title": str, "claim": str, "setting": str, "command": str, "version": str,
    "columns": list, "rows": list, "figures": list,
}  # fmt: skip
OPTIONAL = {"commit": str, "digits": int, "strong": list, "notes": list}
FIGURE = {
    "what": str, "of": list, "minus": list, "value": (int, float, str), "take": str, "unit": str,
    "at_least": (int, float), "at_most": (int, float), "equals": str,
}  # fmt: skip
BOUNDS = ("at_least", "at_most", "equals")
TAKES = ("mean", "median", "least", "most")


def read_all(folder: Path = FOLDER) -> list[dict]:
    """Every claim of a folder in the order of RESULTS.md, each with its file's `name`.

    ValueError, in one line that names the file and the key, where one is not as the schema has it.
    """
    results = [read(path) for path in sorted(folder.glob("*.toml"))]
    for key in ("order", "title"):
        names: dict[object, str] = {}
        for result in results:
            other = names.setdefault(result[key], result["name"])
            if other != result["name"]:
                raise ValueError(f"{result['name']}: {key} {result[key]!r} is that of {other}, too")
    return sorted(results, key=lambda result: result["order"])


def read(path: Path) -> dict:
    """One claim, checked."""
    return _parsed(path.read_text(), path) | {"name": path.name}


def _parsed(text: str, path: Path) -> dict:
    try:
        result = tomllib.loads(text)
        _check(result)
    except ValueError as error:  # a TOMLDecodeError is one
        raise ValueError(f"{path.name}: {error}") from None
    return result


def _check(result: dict) -> None:
    _check_keys(result, NEEDED | OPTIONAL, NEEDED, "")
    for key in ("columns", "strong", "notes"):
        if not all(isinstance(word, str) for word in result.get(key, [])):
            raise ValueError(f"{key} are texts, not {result[key]!r}")
    if not re.fullmatch(r"[\w ,-]+", result["title"]):
        raise ValueError(f"title is a link's anchor, so letters, digits, spaces and , alone: {result['title']!r}")
    for row in result["rows"]:
        if not isinstance(row, list) or len(row) != len(result["columns"]):
            raise ValueError(f"rows: {row!r} has not one cell for each of the {len(result['columns'])} columns")
        for cell in row:
            if not isinstance(cell, str) and not _numbers(cell if isinstance(cell, list) else [cell]):
                raise ValueError(f"rows: {cell!r} is neither a text, a number nor a list of numbers")
    labels = {row[0] for row in result["rows"]}
    for word in result.get("strong", []):
        if word not in labels | set(result["columns"]):
            raise ValueError(f"strong: {word!r} is neither a row nor a column")
    if not result["figures"]:
        raise ValueError("figures: at least one, which the table at the top shows")
    for number, figure in enumerate(result["figures"], 1):
        _check_figure(figure, f"figures, number {number}: ", labels, result["columns"])


def _check_figure(figure: dict, where: str, labels: set[str], columns: list[str]) -> None:
    _check_keys(figure, FIGURE, ("what",), where)
    if sum(bound in figure for bound in BOUNDS) > 1:
        raise ValueError(f"{where}one of {', '.join(BOUNDS)}")
    if "of" in figure and "value" in figure:
        raise ValueError(f"{where}either of or value")
    if "minus" in figure and "of" not in figure:
        raise ValueError(f"{where}minus needs of")
    if figure.get("take", "mean") not in TAKES:
        raise ValueError(f"{where}take is one of {', '.join(TAKES)}, not {figure['take']!r}")
    for key in ("of", "minus"):
        if key in figure and (len(figure[key]) != 2 or figure[key][0] not in labels | {"*"}):
            raise ValueError(f"{where}{key} = {figure[key]!r}: no such row")
        if key in figure and figure[key][1] not in columns[1:]:
            raise ValueError(f"{where}{key} = {figure[key]!r}: no such column")


def _check_keys(table: dict, types: dict, needed: Iterable[str], where: str) -> None:
    for key in needed:
        if key not in table:
            raise ValueError(f"{where}{key} is missing")
    for key, value in table.items():
        if key not in types:
            raise ValueError(f"{where}{key} is not a key; these are: {', '.join(types)}")
        if not isinstance(value, types[key]) or isinstance(value, bool):
            raise ValueError(f"{where}{key} = {value!r} is of the wrong type")


def _numbers(values: list) -> bool:
    return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def save(name: str, rows: list[list], values: dict[str, object] | None = None, folder: Path = FOLDER) -> None:
    """Put what a benchmark has measured into a claim's file; its words stay.

    `values` are those figures, by `what`, that no cell has. Version and commit are those of this tree.
    """
    import mosaic_fl

    path = folder / f"{name}.toml"
    result = read(path)
    del result["name"]
    for what, value in (values or {}).items():
        figure = next((figure for figure in result["figures"] if figure["what"] == what), None)
        if figure is None:
            raise ValueError(f"{path.name}: no figure is called {what!r}")
        figure["value"] = value
    places = result.get("digits", 1) + 1
    rows = [[_rounded(cell, places) for cell in row] for row in rows]
    result |= {"rows": rows, "version": mosaic_fl.__version__, "commit": _commit()}
    text = dump(result)
    _parsed(text, path)
    path.write_text(text)


def _rounded(cell: object, places: int) -> object:
    """A number, or each one of a list, with one digit more than its mean is shown with."""
    if isinstance(cell, list):
        return [_rounded(number, places) for number in cell]
    return round(cell, places) if isinstance(cell, float) else cell


def _commit() -> str:
    """The commit of this tree, or nothing outside of a repository."""
    words = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()


def dump(result: dict) -> str:
    """A claim as its file has it: a row a line, a command of several lines as it is typed."""
    keys = [key for key in (*NEEDED, *OPTIONAL) if key in result and key != "figures"]
    lines = [f"{key} = {_value(key, result[key])}" for key in keys]
    for figure in result["figures"]:
        lines += ["", "[[figures]]", *(f"{key} = {_value(key, figure[key])}" for key in FIGURE if key in figure)]
    return "\n".join(lines) + "\n"


def _value(key: str, value: object) -> str:
    if isinstance(value, list) and key in ("rows", "notes"):
        return "[\n" + "".join(f"    {json.dumps(line, ensure_ascii=False)},\n" for line in value) + "]"
    if isinstance(value, str) and "\n" in value:
        return f"'''\n{value}'''"
    return json.dumps(value, ensure_ascii=False)
