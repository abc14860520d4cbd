"""`mosaic check`: contribution files are looked at, without a run."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mosaic_fl.cli.files import Trust, trust_models
from mosaic_fl.cli.keys import KeyFile, RunId, SignersFolder, key_in, signers_of
from mosaic_fl.cli.output import results
from mosaic_fl.errors import UsageError


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="contributions, encrypted or not")],
    key: KeyFile = None,
    signers: SignersFolder = None,
    run_id: RunId = None,
    trusted: Trust = None,
) -> None:
    """Look at contributions: form, signatures, how they agree, and what is odd; exit code 1 where anything is."""
    if run_id is not None and signers is None:
        raise UsageError("--run-id is for --signers FOLDER: give that, too")
    private_key = key_in(key)
    known = signers_of(signers, run_id)
    trust_models(trusted)
    from mosaic_fl.engines.workers import one_thread
    from mosaic_fl.report.file_check import check_lines, file_table
    from mosaic_fl.runs.file_check import check_files

    with one_thread():
        report = check_files(files, private_key, known)
    results(report.to_json())
    Console(file=sys.stdout).print(file_table(report))
    for line in check_lines(report):
        print("".join(letter if letter.isprintable() else "?" for letter in line))
    if not report.is_clean:
        raise typer.Exit(1)
