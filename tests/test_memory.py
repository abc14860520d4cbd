"""Memory that training reuses: the kernel does not clear the same pages again in every step."""

import resource
import subprocess
import sys

import pytest

from mosaic_fl.numerics.memory import reuse_memory

PAGE = resource.getpagesize()
BLOCK = 40 * 2**20  # bytes, above the 32 MB from which on glibc maps a block whatever its threshold is
BLOCKS = 3
STEPS = 40
PROGRAM = f"""
import resource, torch
from mosaic_fl.numerics.memory import reuse_memory
if REUSE:
    reuse_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({STEPS}):
    blocks = [torch.ones({BLOCK // 4}) for _ in range({BLOCKS})]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(reuse: bool) -> int:
    """Page faults of so many steps with so many blocks, in a process of its own."""
    program = PROGRAM.replace("REUSE", str(reuse))
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not reuse_memory(), reason="the C library is not glibc")
def test_pages_are_not_cleared_in_every_step() -> None:
    # A step touches BLOCKS · BLOCK / PAGE pages. The blocks find their places within a few steps, as the heap grows.
    assert faults(reuse=True) < STEPS / 4 * BLOCKS * BLOCK // PAGE
