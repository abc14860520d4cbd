"""Starts a command that ends when its parent does, on Linux even by SIGKILL: launch.py PARENT SIGNAL COMMAND...

Run by its path, not as a module, so that it imports nothing of the package and takes milliseconds.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(parent: int, signal: int) -> None:
    """Let this process get `signal` when its parent ends; on Linux alone. Ends it at once where that has happened."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[1]), int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606
