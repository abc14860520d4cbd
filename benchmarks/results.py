"""RESULTS.md from the files in benchmarks/results/, one a claim (result_files.py says what is in one).

python benchmarks/results.py            # writes benchmarks/RESULTS.md: make results
python benchmarks/results.py --check    # fails if RESULTS.md is not what the files say
"""

import argparse
import itertools
import re
import statistics
import sys
from pathlib import Path

from result_files import BOUNDS, FOLDER, read_all

PAGE = Path(__file__).parent / "RESULTS.md"
HEAD = """# Results

*Made by `make results` from the files in `benchmarks/results/`. Change those, not this page.*

How to read the tables:

- Accuracies are percent, on test data that no training and no choice within a run sees.
- A figure with ± is the mean and the standard deviation over seeds or repeats. The claim's file has each of them.
- α says how alike the sites are. At 0.01 nearly every class is at one site. At 0.5 each has a part of most classes.
- *Equal*: all sites have the same architecture. *Mixed*: they have different ones.
- *One exchange*: each site sends once. *20 rounds*: sites send up to twenty times.
- *Data-free*: the server needs no data. An *ensemble* serves the models of all sites, Mosaic serves one model.
- Everything ran on one or two CPU cores without an accelerator, unless a claim says otherwise.
- Each claim names the version that was measured. Later versions were not measured again.

Commits, figures of earlier versions, and which settings were chosen with test figures in view:
[the history](../docs/notes/results-history.md).
"""
ASKED = {"at_least": "at least ", "at_most": "at most ", "equals": ""}
STATES = ("missed", "not measured")
NUMBER = re.compile(r"(\*\*)?[\d–-]")
TAKE = {"mean": statistics.fmean, "median": statistics.median, "least": min, "most": max}


def page(results: list[dict]) -> str:
    """RESULTS.md as the claims, in their order, have it."""
    parts = [HEAD, glance(results), *(listing(results, state) for state in STATES)]
    for chapter, claims in itertools.groupby(results, key=lambda result: result["chapter"]):
        parts += [f"## {chapter}\n", *(section(claim) for claim in claims)]
    return "\n".join(part for part in parts if part)


def glance(results: list[dict]) -> str:
    """The table at the top: each claim's first figure, how many of its targets are reached, and the version."""
    rows = []
    for result in results:
        figure = result["figures"][0]
        states = [state(result, other) for other in result["figures"]]
        asked = [word for word in states if word != "no target"]
        reached = f"{asked.count('reached')} of {len(asked)}" if asked else "–"
        rows.append(
            [
                link(result),
                figure["what"],
                measured(result, figure),
                target(figure),
                emphasis(states[0]),
                reached,
                result["version"] or "–",
            ]
        )
    head = ["claim", "figure", "measured", "target", "reached?", "targets reached", "version"]
    return "## At a glance\n\n" + table(head, rows)


def listing(results: list[dict], wanted: str) -> str:
    """All figures of one state, such as those that missed their targets; nothing where there is none."""
    head = ["claim", "figure", "target", "measured"][: 3 if wanted == "not measured" else 4]
    rows = [
        [f"[{result['title']}](#{anchor(result['title'])})", figure["what"], target(figure), measured(result, figure)]
        for result in results
        for figure in result["figures"]
        if state(result, figure) == wanted
    ]
    return f"## {wanted.capitalize()}\n\n" + table(head, [row[: len(head)] for row in rows]) if rows else ""


def section(result: dict) -> str:
    """One claim: its sentence, setting, table, targets, notes and command."""
    parts = [f"### {result['title']}\n", f"**{result['claim']}**\n", f"{result['setting']}\n"]
    if result["rows"]:
        parts.append(table(result["columns"], body(result)))
    if len(result["figures"]) > 1 or state(result, result["figures"][0]) != "no target":
        rows = [[f["what"], measured(result, f), target(f), emphasis(state(result, f))] for f in result["figures"]]
        parts.append(table(["figure", "measured", "target", "reached?"], rows))
    if result.get("notes"):
        parts.append("".join(f"- {note}\n" for note in result["notes"]))
    command = "".join(f"    {line}\n" for line in result["command"].strip().splitlines())
    version = f"Version {result['version']}, file" if result["version"] else "File"
    parts.append(f"{version} `{result['name']}`:\n\n{command}")
    return "\n".join(parts)


def body(result: dict) -> list[list[str]]:
    """The cells of a claim's table as they are shown; numbers of a column have as many digits as the longest."""
    strong, lines = set(result.get("strong", [])), []
    columns = list(zip(*result["rows"], strict=True))
    places = [
        max(len(str(n).partition(".")[2]) for n in (*column, 0) if not isinstance(n, list | str)) for column in columns
    ]
    for row in result["rows"]:
        texts = []
        for name, cell, place in zip(result["columns"], row, places, strict=True):
            text = f"{cell:,.{place}f}" if isinstance(cell, float) else shown(cell, digits(result))
            texts.append(f"**{text}**" if text != "–" and {row[0], name} & strong else text)
        lines.append(texts)
    return lines


def number(result: dict, figure: dict) -> float | str | None:
    """What was measured: one number, or a word; None where nothing was."""
    if "of" not in figure:
        return figure.get("value")
    values = cells(result, figure["of"])
    others = cells(result, figure["minus"]) if "minus" in figure else [0.0] * len(values)
    if len(others) == 1:
        others *= len(values)
    pairs = zip(values, others, strict=True)
    numbers = [n for a, b in pairs if not isinstance(a, str) and not isinstance(b, str) for n in differences(a, b)]
    return TAKE[figure.get("take", "mean")](numbers) if numbers else None


def cells(result: dict, place: list[str]) -> list[list[float] | float | str]:
    """The cells of one column: of one row, or of every row, *."""
    column = result["columns"].index(place[1])
    return [row[column] for row in result["rows"] if place[0] in ("*", row[0])]


def differences(a: list[float] | float, b: list[float] | float) -> list[float]:
    """`a` less `b`, seed by seed; one number stands for all seeds."""
    left, right = (x if isinstance(x, list) else [x] for x in (a, b))
    if 1 not in (len(left), len(right)) and len(left) != len(right):
        raise ValueError(f"{a!r} and {b!r} are of other seeds")
    return [x - y for x, y in zip(left * (len(right) if len(left) == 1 else 1), itertools.cycle(right), strict=False)]


def state(result: dict, figure: dict) -> str:
    """Whether a figure's target is reached."""
    value = number(result, figure)
    if value is None:
        return "not measured"
    bound = next((bound for bound in BOUNDS if bound in figure), None)
    if bound is None:
        return "no target"
    asked = figure[bound]
    if isinstance(value, str) or bound == "equals":
        return "reached" if value == asked else "missed"
    return "reached" if (value >= asked if bound == "at_least" else value <= asked) else "missed"


def measured(result: dict, figure: dict) -> str:
    """The number of a figure with its unit, or that there is none."""
    value = number(result, figure)
    if value is None:
        return "not measured"
    exact = "of" in figure and not isinstance(value, str)
    return with_unit(f"{value:,.{digits(result)}f}" if exact else shown(value, digits(result)), figure)


def target(figure: dict) -> str:
    """What was asked for, in words."""
    bound = next((bound for bound in BOUNDS if bound in figure), None)
    return with_unit(ASKED[bound] + shown(figure[bound], 1), figure) if bound else "–"


def with_unit(text: str, figure: dict) -> str:
    """`text` and the figure's unit after it."""
    return f"{text} {figure['unit']}" if "unit" in figure else text


def shown(cell: object, digits: int) -> str:
    """A cell of a table: a list of seeds as mean ± standard deviation, all else as it stands in the file."""
    if isinstance(cell, list):
        mean = f"{statistics.fmean(cell):,.{digits}f}"
        return f"{mean} ± {statistics.stdev(cell):,.{digits}f}" if len(cell) > 1 else mean
    return cell if isinstance(cell, str) else f"{cell:,}"


def digits(result: dict) -> int:
    """Digits after the point of a claim's means."""
    return int(result.get("digits", 1))


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; numbers stand at the right."""
    columns = list(zip(*rows, strict=True))[1:]
    rules = ["---", *("---:" if all(NUMBER.match(cell) for cell in column) else "---" for column in columns)]
    lines = [" | ".join(cells) for cells in (head, rules, *rows)]
    return "".join(f"| {line} |\n" for line in lines)


def link(result: dict) -> str:
    """The claim's sentence, which leads to its section."""
    return f"[{result['claim'].rstrip('.')}](#{anchor(result['title'])})"


def anchor(title: str) -> str:
    """A heading's anchor, as GitHub and the site make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def emphasis(state: str) -> str:
    """A state, so that the eye finds what is not reached."""
    return f"**{state}**" if state in STATES else "–" if state == "no target" else state


def main(words: list[str] | None = None) -> None:
    """Write the page, or compare it with the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if RESULTS.md is another")
    parser.add_argument("--results", type=Path, default=FOLDER, help="the folder of the files")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page")
    options = parser.parse_args(words)
    try:
        text = page(read_all(options.results))
    except ValueError as error:
        sys.exit(str(error))
    if not options.check:
        options.out.write_text(text)
    elif not options.out.exists() or options.out.read_text() != text:
        sys.exit(f"{options.out.name} is not what the files in {options.results.name}/ say: make results")


if __name__ == "__main__":
    main()
