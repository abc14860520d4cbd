"""Memory that a process has used stays with it: training asks for the same large blocks in every step.

By default glibc maps a block of more than 128 kB to 32 MB anew for each request, and any larger one whatever its
threshold says; it gives them back afterwards. The kernel then clears every page of them in every step. A batch of 64
pictures of 64×64 pixels in 32 channels is such a block, of 33.6 MB.
"""

import ctypes
import sys
from functools import cache

# Names and numbers of glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NO_BLOCKS = 0  # that are mapped, of any size: all come from the heap, where freed ones are used again
SPARE = 2**31 - 1  # bytes of free memory at the end of the heap that stay with the process: the largest number it takes


@cache
def reuse_memory() -> bool:
    """Let this process reuse its memory; returns whether that was possible: only with glibc, which Linux mostly has."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library, as musl
        return False
    return bool(mallopt(M_MMAP_MAX, NO_BLOCKS)) and bool(mallopt(M_TRIM_THRESHOLD, SPARE))
