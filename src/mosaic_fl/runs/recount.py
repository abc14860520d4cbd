"""A run that goes on with other words on whom the server believes (`--keep`, `--strict`, `trust.defence`).

Who counts is asked before all else that a server makes of contributions, so what was made of them is made again. The
contributions themselves stay, which are most of the work.
"""

from collections.abc import Set
from pathlib import Path

from mosaic_fl.config import Config
from mosaic_fl.notes import note

SETTINGS = "trust"  # the section of these settings
METHOD = "mosaic"  # the method that asks who counts
COMMANDS = ("run", "distill", "deploy")
RESULT = "result.json"
STAGES = "stages"  # as in `storage.journal`, which takes torch
QUARANTINE = "quarantine"
OF_NOBODY = "seconds.json"  # no stage: what each one has cost so far


def can_recount(command: str, config: Config, entries: Set[str]) -> bool:
    """Whether a run of `command`, with its files `entries`, may go on with other settings of this section."""
    return command in COMMANDS and config.run.method == METHOD and RESULT not in entries


def recount(folder: Path, before: Config, now: Config) -> None:
    """Delete the stages in `folder` where the settings of this section have changed, and say so. Raises OSError."""
    if before.trust == now.trust:
        return
    for path in (folder / QUARANTINE).glob("*.json"):
        path.unlink()
    stages = [path for path in (folder / STAGES).glob("*") if path.name != OF_NOBODY]
    for path in stages:
        path.unlink()
    if stages:
        note(f"the settings of whom to believe have changed: {len(stages)} stages are made again, no contribution is")
