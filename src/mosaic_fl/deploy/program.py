"""Run one of Flower's long-running programs with two changes: program.py PROGRAM WORD…

The process ends with its main thread. In `flower-supernode`, the thread that serves its own processes outlives the main
thread: after one error from a busy hub, the process would stay without a connection.

Its database waits longer. `flower-superlink` gives up after five seconds behind other writers, and the message is lost;
fifty clients on a slow disk cause such a wait. Its database is deleted at each start, so it need not survive a power
cut.
"""

import os
import runpy
import sys
import traceback
from typing import Any

WAIT = 120_000  # milliseconds for the database's lock
PRAGMAS = {"busy_timeout": str(WAIT), "synchronous": "OFF"}


def set_database_pragmas(constants: Any) -> None:
    """Change the values of `PRAGMAS` in Flower's module of constants; pragmas that the module lacks are not added."""
    pragmas = getattr(constants, "SQLITE_PRAGMAS", ())
    constants.SQLITE_PRAGMAS = tuple((name, PRAGMAS.get(name, value)) for name, value in pragmas)


def run_main_thread(program: str) -> int:
    """Run a Python program until its main thread ends; returns its exit code."""
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # printed as Python prints it
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    from flwr.supercore import constant

    sys.argv = sys.argv[1:]
    set_database_pragmas(constant)
    code = run_main_thread(sys.argv[0])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
