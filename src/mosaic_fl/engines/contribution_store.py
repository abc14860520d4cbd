"""The contributions of a run, on disk: each is a file and a stage of the journal, and a resumed run reads it there."""

from dataclasses import dataclass, field
from pathlib import Path

from mosaic_fl.engines.tasks import TaskResult
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.filed import ContributionFiles
from mosaic_fl.storage.container import MAX_FILE
from mosaic_fl.storage.files import read_if_there, sha256, write_atomic
from mosaic_fl.storage.journal import Journal, Stage


@dataclass(frozen=True)
class StoreEntry:
    """A contribution from the store, and the seconds of work that it cost its client."""

    contribution: Contribution
    seconds: float


@dataclass(frozen=True)
class ContributionStore:
    """The contributions in `journal`; where that has a folder, they are also files in `contributions/`.

    Of these the weights stay in the `files`, which are read again when these are used.
    """

    journal: Journal
    files: ContributionFiles = field(default_factory=ContributionFiles)

    def keep(self, contribution: Contribution, result: TaskResult) -> Contribution:
        """Store the checked contribution, whose bytes are `result.value`; returns it, its weights in the file."""
        client = contribution.client
        path = self.path(client)
        if path is not None:
            write_atomic(path, result.value)
        self.journal.keep(_stage(client), Stage({}, {"sha256": sha256(result.value)}, result.seconds, result.metrics))
        self.journal.listen("client", client, 1, 1)
        return contribution if path is None else self.files.filed(contribution, path, result.value)

    def recall(self, client: int) -> StoreEntry | None:
        """The client's contribution; None where it is absent, or its file is missing or has changed."""
        path = self.path(client)
        stage = self.journal.recall(_stage(client))
        if path is None or stage is None:
            return None
        content = read_if_there(path, MAX_FILE)
        if content is None or sha256(content) != stage.info["sha256"]:
            return None
        self.journal.listen("client", client, 1, 1)
        contribution = self.files.filed(Contribution.from_bytes(content, str(path)), path, content)
        return StoreEntry(contribution, stage.seconds)

    def size(self, client: int) -> int:
        """Bytes of the client's file; 0 where it is absent."""
        path = self.path(client)
        return path.stat().st_size if path is not None and path.exists() else 0

    def path(self, client: int) -> Path | None:
        """The path of the client's file; None where the journal has no folder."""
        folder = self.journal.folder
        return None if folder is None else folder / "contributions" / f"client-{client:03d}.contribution"


def _stage(client: int) -> str:
    return f"client-{client:03d}"
