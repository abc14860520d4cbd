"""Contributions that a run has received: each one a file and a stage of its journal, never asked for again."""

from dataclasses import dataclass
from pathlib import Path

from mosaic_fl.engines.tasks import Done
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.storage.container import MAX_FILE
from mosaic_fl.storage.files import read_if_there, sha256, write_atomic
from mosaic_fl.storage.journal import Journal, Stage


@dataclass(frozen=True)
class Kept:
    """A contribution that was there, and the seconds of work that it cost its client."""

    contribution: Contribution
    seconds: float


@dataclass(frozen=True)
class KeptContributions:
    """The contributions in `journal`, with a folder also as files in `contributions/`."""

    journal: Journal

    def keep(self, client: int, done: Done) -> None:
        """Keep the bytes of a contribution, which are `done.value`."""
        path = self.path(client)
        if path is not None:
            write_atomic(path, done.value)
        self.journal.keep(_stage(client), Stage({}, {"sha256": sha256(done.value)}, done.seconds, done.metrics))
        self.journal.listen("client", client, 1, 1)

    def recall(self, client: int) -> Kept | None:
        """The client's contribution; None where there is none, or its file is gone or changed."""
        path = self.path(client)
        kept = self.journal.recall(_stage(client))
        if path is None or kept is None:
            return None
        content = read_if_there(path, MAX_FILE)
        if content is None or sha256(content) != kept.info["sha256"]:
            return None
        self.journal.listen("client", client, 1, 1)
        return Kept(Contribution.from_bytes(content, str(path)), kept.seconds)

    def size(self, client: int) -> int:
        """Bytes of the client's file; 0 where there is none."""
        path = self.path(client)
        return path.stat().st_size if path is not None and path.exists() else 0

    def path(self, client: int) -> Path | None:
        """The client's file; None where the journal keeps nothing on disk."""
        folder = self.journal.folder
        return None if folder is None else folder / "contributions" / f"client-{client:03d}.contribution"


def _stage(client: int) -> str:
    return f"client-{client:03d}"
