"""Every random draw comes from a stream named by (run seed, stage, client, round).

No stream depends on another, so the same run gives the same result with one worker or several,
in any order of work, fresh or resumed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Stream:
    """The name of one independent random stream.

    `client` and `round` are −1 where the draw belongs to none.
    """

    seed: int
    stage: str
    client: int = -1
    round: int = -1

    def integer(self) -> int:
        """A number in 0..2⁶³−1 that only this stream has (SHA-256 of its name)."""
        name = f"{self.seed}/{self.stage}/{self.client}/{self.round}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1

    def torch(self) -> torch.Generator:
        """A fresh torch generator at this stream's start, on the CPU."""
        return torch.Generator().manual_seed(self.integer())

    def numpy(self) -> np.random.Generator:
        """A fresh numpy generator at this stream's start."""
        return np.random.default_rng(self.integer())

    @contextmanager
    def ambient(self) -> Iterator[None]:
        """Make torch's process-wide generator this stream for the length of a block.

        For what can draw from nowhere else: weight initialisation and dropout. The former state comes
        back afterwards, on CUDA devices too where they are in use.
        """
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.integer())
            yield
