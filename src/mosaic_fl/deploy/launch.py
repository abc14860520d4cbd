"""Start a command that ends with its parent: launch.py PARENT SIGNAL COMMAND...

On Linux it ends even if the parent ends by SIGKILL. Other code runs this file by its path, not as a module: so it
imports nothing of the package and takes milliseconds.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(parent: int, signal: int) -> None:
    """Let the kernel send `signal` to this process when its parent ends; Linux only. Exits if `parent` has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[1]), int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606
