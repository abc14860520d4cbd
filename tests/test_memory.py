"""Memory that training reuses: the kernel does not clear the same pages again in every step."""

import resource
import subprocess
import sys

import pytest

from mosaic_fl.numerics.memory import reuse_memory

PAGE = resource.getpagesize()
BLOCK = 40 * 2**20  # bytes, above the 32 MB from which on glibc maps a block whatever its threshold is
BLOCKS = 3
STEPS = 20
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
def test_pages_are_cleared_once_and_not_in_every_step() -> None:
    # The blocks of a step have BLOCKS · BLOCK / PAGE pages, touched for the first time once. The rest is the imports.
    once = BLOCKS * BLOCK // PAGE
    assert faults(reuse=True) < 3 * once
