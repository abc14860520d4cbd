"""Random streams. Every random draw comes from a stream named by (run seed, stage, client, round).

No stream depends on another. So a run gives the same result with one worker or several, in any order of work, and
also after a resume.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch


@dataclass(frozen=True)
class Stream:
    """The name of one independent random stream; `client` and `round` are −1 where the draw has none."""

    seed: int
    stage: str
    client: int = -1
    round: int = -1

    def integer(self) -> int:
        """A number in 0..2⁶³−1 of this stream alone, from the SHA-256 of its name."""
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
        """Within the block torch's process-wide generator draws from this stream.

        Weight initialisation and dropout need it, since they take no generator of their own. The former state returns
        afterwards, also on CUDA devices where they are in use.
        """
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        with torch.random.fork_rng(devices=devices):
            seed = torch.manual_seed if _has_accelerator() else torch.default_generator.manual_seed
            seed(self.integer())
            yield


@cache
def _has_accelerator() -> bool:
    """Whether torch could draw anywhere but on the CPU: else its own seeding formats a traceback for each such place.

    That takes as long as some steps of a small network, in every client's part of a round.
    """
    accelerator = getattr(torch, "accelerator", None)  # not in torch before 2.6
    return accelerator is None or bool(accelerator.is_available())
