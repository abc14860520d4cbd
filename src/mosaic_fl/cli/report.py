"""`mosaic report`: one page about a run or a comparison, or about several side by side."""

from pathlib import Path
from typing import Annotated

import typer

from mosaic_fl.cli.options import Force
from mosaic_fl.cli.output import results
from mosaic_fl.cli.places import require_free


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of runs and comparisons, their --out")],
    *,
    out: Annotated[Path | None, typer.Option(help="the page [report.html in the one run's folder, or here]")] = None,
    force: Force = False,
) -> None:
    """Write a page about runs: who took part, what each gains, how good the model is, and what it took.

    Of a comparison: its methods side by side.
    """
    from mosaic_fl.report.page.page import FILE, page_of
    from mosaic_fl.storage.files import write_atomic

    place = out or (runs[0] / FILE if len(runs) == 1 else Path(FILE))
    if out is not None or len(runs) > 1:
        require_free(place, force)
    write_atomic(place, page_of(runs))
    results({"file": place, "runs": runs})
    print(f"Results: {place}")
