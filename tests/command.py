"""The real command line: in this process, or as one of its own where it is to be killed."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic_fl.cli.main import main

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
        # So few steps make generators that nobody recognises.
        "distill.prior=none",
        "distill.teacher=meta",
        "distill.choose=false",
        "distill.terms=1",
    )
    for word in ("--set", setting)
]
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


# A script that runs the tests in the background has them, and what they start, ignore Ctrl-C.
PROGRAM = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from mosaic_fl.cli.main import main
main()
"""


def start(*words: str | Path, cwd: Path) -> "subprocess.Popen[str]":
    """Start `mosaic` with these words in the folder `cwd`."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def mosaic(*words: str | Path, cwd: Path, err: io.StringIO | None = None) -> str:
    """Run `mosaic` to its end in the folder `cwd`, in this process, which saves the imports; returns its stdout.

    Its stderr is written to `err`.
    """
    out, err, ended = io.StringIO(), err or io.StringIO(), pytest.raises(SystemExit)
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), ended as exit:
        main(list(map(str, words)))
    assert exit.value.code == 0, f"exit code {exit.value.code}\n{out.getvalue()}\n{err.getvalue()}"
    return out.getvalue()


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a process to end well; returns its stdout."""
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, f"exit code {process.returncode}\n{out}\n{err}"
    return out


def fails(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 2) -> str:
    """The one line that `mosaic WORDS` prints on stderr before it exits with `code`."""
    with pytest.raises(SystemExit) as exit:
        main([str(word) for word in words])
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("mosaic: ") and not line.startswith("mosaic: note: ")
    ]
    assert exit.value.code == code, lines
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0].removeprefix("mosaic: ")
