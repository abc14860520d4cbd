"""Memory that a process has used stays with it: training asks for the same large blocks in every step.

By default glibc maps a block of more than 128 kB to 32 MB anew for each request, and gives it back afterwards. The
kernel then clears every page of it in every step.
"""

import ctypes
import sys
from functools import cache

# Names and numbers of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST_BLOCK = 32 * 2**20  # bytes: the largest threshold that glibc takes. Larger blocks are mapped as before.
SPARE = 512 * 2**20  # bytes of free memory at the end of the heap that stay with the process


@cache
def reuse_memory() -> bool:
    """Let this process reuse its memory; returns whether that was possible: only with glibc, which Linux mostly has."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, as musl
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)) and bool(mallopt(M_TRIM_THRESHOLD, SPARE))
