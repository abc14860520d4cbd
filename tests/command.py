"""The real command line, as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

# Few steps: these runs show that all works, not how well.
QUICK = [
    word
    for setting in (
        "train.max_steps=60",
        "train.min_steps=40",
        "generator.steps=120",
        "generator.width=8",
        "meta.steps=40",
        "meta.samples=400",
        "distill.steps=100",
        "distill.pool=600",
    )
    for word in ("--set", setting)
]
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def start(*words: str | Path, cwd: Path) -> "subprocess.Popen[str]":
    """Start `mosaic` with these words in the folder `cwd`."""
    return subprocess.Popen(
        [sys.executable, "-c", "from mosaic_fl.cli.main import main; main()", *map(str, words)],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def mosaic(*words: str | Path, cwd: Path, code: int = 0) -> "subprocess.CompletedProcess[str]":
    """Run `mosaic` to its end and require its exit code."""
    process = start(*words, cwd=cwd)
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, f"exit code {process.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess(list(map(str, words)), code, out, err)
