"""One of Flower's long-running programs with two of its habits changed: program.py PROGRAM WORD…

It ends when its main thread does. `flower-supernode` serves its own processes in a thread that outlives whatever ends
its work: one answer of a busy hub that is an error is enough, and the process stays, connected to nobody.

Its database waits. `flower-superlink` gives up after five seconds behind other writers, which fifty clients on a slow
disk reach, and the message is lost. What it holds is deleted at each start, so it need not outlast a power cut either.
"""

import os
import runpy
import sys
import traceback
from typing import Any

WAIT = 120_000  # milliseconds for the database's lock
PRAGMAS = {"busy_timeout": str(WAIT), "synchronous": "OFF"}


def let_the_database_wait(constants: Any) -> None:
    """Change the settings in Flower's module of constants; those that another version does not have stay out."""
    known = getattr(constants, "SQLITE_PRAGMAS", ())
    constants.SQLITE_PRAGMAS = tuple((name, PRAGMAS.get(name, value)) for name, value in known)


def run_to_its_end(program: str) -> int:
    """Run a Python program as it would run alone, but for threads that it leaves behind; returns its exit code."""
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # as Python itself tells of it
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    from flwr.supercore import constant

    sys.argv = sys.argv[1:]
    let_the_database_wait(constant)
    code = run_to_its_end(sys.argv[0])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
