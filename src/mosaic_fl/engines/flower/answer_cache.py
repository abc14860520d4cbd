"""The server's cache of answers on disk, until their round is a finished stage of the journal."""

import shutil
from dataclasses import asdict
from pathlib import Path

from mosaic_fl.engines.flower import answer_file
from mosaic_fl.engines.flower.wire import Answer, Request


class AnswerCache:
    """Answers by request; empty without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = None if folder is None else folder / "received"
        self._old_paths: set[Path] = set()

    def recall(self, request: Request) -> Answer | None:
        """The answer to this request; None where it is absent or damaged."""
        content = answer_file.read(self._path(request))
        return None if content is None else Answer(**content[0], body=content[1])

    def keep(self, request: Request, answer: Answer) -> None:
        """Store an accepted answer."""
        path = self._path(request)
        if path is not None:
            head = {name: value for name, value in asdict(answer).items() if name != "body"}
            answer_file.write(path, head, answer.body, answer.body_digest)

    def turn(self) -> None:
        """Begin a new round: delete the answers from before the last one."""
        if self.folder is None or not self.folder.exists():
            return
        for path in self._old_paths:
            path.unlink(missing_ok=True)
        self._old_paths = set(self.folder.glob("*.answer"))

    def clear(self) -> None:
        """Delete all answers."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, request: Request) -> Path | None:
        if self.folder is None:
            return None
        return self.folder / f"{request.task}-{request.client:04d}-{request.digest[:32]}.answer"
