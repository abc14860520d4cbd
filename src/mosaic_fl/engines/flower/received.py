"""Answers of the present round, on the server's disk until the round is a finished stage of the journal."""

import shutil
from dataclasses import asdict
from pathlib import Path

from mosaic_fl.engines.flower import stored
from mosaic_fl.engines.flower.wire import Answer, Request


class Received:
    """Answers by the request that they answer; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = None if folder is None else folder / "received"
        self._before: set[Path] = set()

    def recall(self, request: Request) -> Answer | None:
        """The answer to this very request; None where there is none, or it is damaged."""
        found = stored.read(self._path(request))
        return None if found is None else Answer(**found[0], body=found[1])

    def keep(self, request: Request, answer: Answer) -> None:
        """Keep an answer that was accepted."""
        path = self._path(request)
        if path is not None:
            head = {name: value for name, value in asdict(answer).items() if name != "body"}
            stored.write(path, head, answer.body, answer.body_digest)

    def turn(self) -> None:
        """A new round begins: answers from before the last one go."""
        if self.folder is None or not self.folder.exists():
            return
        for path in self._before:
            path.unlink(missing_ok=True)
        self._before = set(self.folder.glob("*.answer"))

    def clear(self) -> None:
        """Forget all."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, request: Request) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{request.task}-{request.client:04d}-{request.digest[:32]}.answer"
