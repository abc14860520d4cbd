"""Starts a command that ends when its parent does, on Linux even by SIGKILL: launch.py PARENT SIGNAL COMMAND...

Run by its path, not as a module, so that it imports nothing of the package and takes milliseconds.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    parent, signal = int(sys.argv[1]), int(sys.argv[2])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal)
        if os.getppid() != parent:  # it died before the line above
            sys.exit(1)
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606
