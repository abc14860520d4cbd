"""`mosaic inspect`: what a contribution's file holds, in words, before it leaves or after it has come."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mosaic_fl.cli.files import Trust, trust_models
from mosaic_fl.cli.keys import KeyFile, key_in
from mosaic_fl.storage.files import require_file


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="a contribution, as of mosaic contribute")],
    trusted: Trust = None,
    key: KeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="for scripts")] = False,
) -> None:
    """What is in a contribution, of how many samples, with which protection, and what it could reveal."""
    require_file(file)
    private_key = key_in(key)
    trust_models(trusted)
    from mosaic_fl.report.inspection import inspection_lines
    from mosaic_fl.runs.inspection import inspect as inspect_file

    inspection = inspect_file(file, private_key)
    if as_json:
        print(json.dumps(inspection.to_json(), indent=2))
        return
    print(*inspection_lines(inspection), sep="\n")
