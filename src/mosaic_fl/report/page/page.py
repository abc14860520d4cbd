"""One HTML page about runs: it loads nothing from anywhere, and takes nothing in a result for HTML."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from mosaic_fl.numerics.intervals import wilson
from mosaic_fl.report.page.charts import abstaining, bars, differences, heat_map, percent, reliability
from mosaic_fl.report.page.facts import WATTS, Facts, read_facts
from mosaic_fl.storage.files import write_atomic

FILE = "report.html"
NONE = "–"
MOST_LINES = 4000  # of `result.json`, which is shown at the end


def write_page(folder: Path) -> Path:
    """Write the page about the run in `folder` into it; returns its path. Raises UsageError where no run has ended."""
    place = folder / FILE
    write_atomic(place, page([read_facts(folder)]))
    return place


def page(runs: Sequence[Facts]) -> str:
    """The page about `runs`; of several, they stand side by side first."""
    from jinja2 import Environment

    place = files("mosaic_fl.report.page")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((place / "page.html.j2").read_text("utf-8"))
    return template.render(
        runs=runs,
        heading=runs[0].title if len(runs) == 1 else f"{len(runs)} runs",
        style=(place / "style.css").read_text("utf-8"),
        script=(place / "script.js").read_text("utf-8"),
        watts=round(WATTS),
        share=_share,
        count=lambda value: NONE if value is None else f"{value:,}",
        signed=lambda value: NONE if value is None else f"{value:+.1f}",
        size=_size,
        time=_time,
        interval=_interval,
        gains=_gains,
        confusion=_confusion,
        command=_command,
        everything=_everything,
        bars=bars,
        differences=differences,
        heat=heat_map,
        reliability=reliability,
        abstaining=abstaining,
    )


def _share(value: float | None) -> str:
    return NONE if value is None else percent(value)


def _interval(run: Facts) -> str:
    value = run.result.get("accuracy")
    samples = run.detail.get("samples")
    if value is None or not samples:
        return ""
    low, high = wilson(value, samples)
    return f"{percent(low)} to {percent(high)}"


def _gains(run: Facts) -> str:
    """As "4 of 5", or nothing where sites have no models of their own to compare."""
    test = (run.result.get("taking_part") or {}).get("test")
    return f"{test['gain']} of {len(test['points'])}" if test else ""


def _confusion(run: Facts) -> list[tuple[str, list[float | None]]]:
    """Each true class with the shares of its answers; None for a class without a sample."""
    counts = run.detail.get("confusion") or []
    totals = [sum(row) for row in counts]
    shares = [[n / total if total else None for n in row] for row, total in zip(counts, totals, strict=True)]
    return list(zip(run.classes, shares, strict=False))


def _command(run: Facts) -> str:
    if run.result.get("contributors"):
        return "mosaic distill CONTRIBUTION… --config run.toml --out again"
    if run.result.get("left_out") is not None:
        return "mosaic deploy server run.toml --out again"
    return "mosaic run run.toml --out again"


def _everything(run: Facts) -> str:
    lines = json.dumps(run.result, indent=1, ensure_ascii=False).splitlines()
    more = len(lines) - MOST_LINES
    return "\n".join(lines[:MOST_LINES] + ([f"… {more:,} further lines are in result.json"] if more > 0 else []))


def _size(count: float | None) -> str:
    if count is None:
        return NONE
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
