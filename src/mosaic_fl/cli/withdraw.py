"""`mosaic withdraw`: a client leaves a run, and the global model is made of the others anew."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mosaic_fl.cli.files import Trust, trust_models
from mosaic_fl.cli.forecasting import announce
from mosaic_fl.cli.keys import KeyFile, key_in
from mosaic_fl.cli.options import KeepStages
from mosaic_fl.cli.output import results, run_results
from mosaic_fl.errors import UsageError
from mosaic_fl.runs.folder import MARKER, require_run
from mosaic_fl.storage.files import require_writable
from mosaic_fl.storage.folder_lock import occupy


def withdraw(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a run or distillation, its --out")],
    client: Annotated[int, typer.Argument(metavar="CLIENT", min=0, help="the number of the client that leaves")],
    trusted: Trust = None,
    key: KeyFile = None,
    keep_stages: KeepStages = False,
    force: Annotated[bool, typer.Option("--force", help="remove the files; without it nothing is done")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be removed, and end")] = False,
) -> None:
    """Remove a client's contribution from a run, distil the others again, and write a record of it."""
    require_run(run)
    private_key = key_in(key)
    trust_models(trusted)
    from mosaic_fl.forecast.foresee import foresee_distillation
    from mosaic_fl.report.benefit import benefit_lines
    from mosaic_fl.report.heartbeat import waiting
    from mosaic_fl.report.page.page import write_page
    from mosaic_fl.report.progress import Display
    from mosaic_fl.report.tables import percent, seconds_line
    from mosaic_fl.runs.withdraw import withdraw as work
    from mosaic_fl.runs.withdrawal import prepare_withdrawal
    from mosaic_fl.storage.stopwatch import Stopwatch

    console = Console(stderr=True)
    stopwatch = Stopwatch()
    occupy(run)
    with stopwatch.stage("load"), waiting(console, f"reading {run}"):
        withdrawal = prepare_withdrawal(run, client, private_key)
    if dry_run:
        results({"removed": withdrawal.removed})
        print(*(f"would remove {name}  sha256 {digest}" for name, digest in withdrawal.removed.items()), sep="\n")
        print("Dry run: nothing was removed.")
        return
    if not force and withdrawal.begun is None:
        raise UsageError(
            f"this removes {len(withdrawal.removed)} files of {run}, its global model too, for good: add --force to do "
            "so, or --dry-run to see which"
        )
    require_writable(run / MARKER)
    announce(lambda: foresee_distillation(withdrawal.distillation, first=True))
    trust = [word for name in trusted or [] for word in ("--trust", name)]
    keys = [] if key is None else ["--key", str(key)]
    command = shlex.join(["mosaic", "withdraw", str(run), str(client), *trust, *keys, *(["--force"] if force else [])])
    with Display([("meta", 1.0), ("pool", 0.5), ("student", 2.0)], console, stopwatch=stopwatch) as display:
        display.say(f"client {client} leaves: distilling {len(withdrawal.distillation.contributions)} others")
        result = work(withdrawal, command, display.hear, keep_stages=keep_stages, stopwatch=stopwatch)
    if result["accuracy"] is not None:
        print(f"accuracy: {percent(result['accuracy'])} (teacher {percent(result['teacher_accuracy'])})")
        print(*benefit_lines(result), sep="\n")
    print(seconds_line(result["seconds"]))
    write_page(run)
    run_results(run, result, removed=withdrawal.removed)
    print(f"Results: {run}/report.html, global_model.safetensors, result.json")
    print(f"What was removed: {run}/withdrawals.json")
