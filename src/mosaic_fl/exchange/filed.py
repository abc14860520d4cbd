"""Contributions whose weights stay in their files: of many, those of one at a time are in memory.

A file is read again when its weights are used, and only the bytes that were checked when it came are believed.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.storage.container import read_bytes
from mosaic_fl.storage.files import path_text
from mosaic_fl.storage.keys import PrivateKey

EXPERT = "expert"
GENERATOR = "generator"


class ContributionFiles:
    """Files of contributions, encrypted ones for `key`. The contribution that was read last is in memory."""

    def __init__(self, key: PrivateKey | None = None) -> None:
        self.key = key
        self._latest: tuple[Path, str, Contribution] | None = None

    def filed(self, contribution: Contribution, path: Path, content: bytes) -> Contribution:
        """The `contribution` of the checked `content` of a file, without its weights, which are read when used."""
        digest = _digest(content)
        self._latest = (path, digest, contribution)
        generator = contribution.generator
        return replace(
            contribution,
            expert=FiledWeights(self, path, digest, EXPERT, tuple(contribution.expert)),
            generator=None if generator is None else FiledWeights(self, path, digest, GENERATOR, tuple(generator)),
        )

    def weights(self, path: Path, digest: str, part: str) -> Mapping[str, Tensor]:
        """The weights of a part of a file; raises UsageError where it has changed, or cannot be read any more."""
        latest = self._latest
        if latest is None or latest[:2] != (path, digest):
            self._latest = None  # before the next one: two at a time would be in memory
            content = read_bytes(path, self.key)
            if _digest(content) != digest:
                raise UsageError(f"{path_text(path)} has changed since it was read: put it back, or begin anew")
            self._latest = latest = (path, digest, Contribution.from_checked(content, str(path)))
        contribution = latest[2]
        weights = contribution.expert if part == EXPERT else contribution.generator
        assert weights is not None
        return weights


@dataclass(frozen=True)
class FiledWeights(Mapping[str, Tensor]):
    """The weights by `names` of a `part` of a file: read when one of them is asked."""

    files: ContributionFiles
    path: Path
    digest: str
    part: str
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> Tensor:
        return self.files.weights(self.path, self.digest, self.part)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __or__(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """As of a dict, which methods from outside take it for."""
        return dict(self) | dict(more)

    def __reduce__(self) -> tuple[type[dict[str, Tensor]], tuple[dict[str, Tensor]]]:
        return dict, (dict(self),)  # another process gets the weights themselves


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
