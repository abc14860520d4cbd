"""A client's memory on its own disk: answers that are finished, and steps of those that are not."""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.engines.flower import stored
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.engines.tasks import Done
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage import container
from mosaic_fl.storage.files import remove_partial, sha256

log = logging.getLogger("mosaic_fl.client")
STAYS = frozenset({"contribute"})
"""Tasks whose answers are kept for as long as the run's folder is; of the others the latest two."""
LATEST = 2
RUNS = 4  # runs whose work is kept


@dataclass(frozen=True)
class Memory:
    """What a client kept of one request, done at `site` by the `version` of this code.

    Without a `folder` nothing is kept, and the site's data are not hashed. What is damaged is as good as absent; what
    cannot be kept, because a disk is full, is logged, for the work is done all the same.
    """

    folder: Path | None
    request: Request
    site: Site
    version: str

    def answer(self) -> Answer | None:
        """The finished answer, if it is there."""
        found = stored.read(self._path("answer"))
        return None if found is None else Answer(**found[0], body=found[1])

    def keep(self, answer: Answer) -> None:
        """Keep a finished answer, and forget what has become old."""
        path = self._path("answer")
        if path is not None:
            with _tolerant():
                self._keep(path, answer)

    def _keep(self, path: Path, answer: Answer) -> None:
        if path.parent.exists():
            remove_partial(path.parent)
        head = {name: value for name, value in asdict(answer).items() if name != "body"}
        stored.write(path, head, answer.body, answer.body_digest)
        if self.request.task not in STAYS:
            _forget(sorted(path.parent.glob(f"{self.request.task}-*.answer"), key=_age)[:-LATEST])
        _forget(sorted(path.parent.parent.iterdir(), key=_age)[:-RUNS])
        for step in path.parent.glob(f"{path.stem}.classifier"):
            step.unlink()

    def classifier(self) -> Done | None:
        """The contribution without generator and prototypes, if that step is done."""
        found = stored.read(self._path("classifier"))
        return None if found is None else Done(found[1], found[0]["seconds"], found[0]["metrics"])

    def keep_classifier(self, done: Done) -> None:
        """Keep the first step of a contribution."""
        path = self._path("classifier")
        if path is not None:
            with _tolerant():
                stored.write(path, {"seconds": done.seconds, "metrics": done.metrics}, done.value)

    def outputs(self, experts: str) -> tuple[Tensor, Tensor] | None:
        """(logits (n, K, C), labels (n,)) of the `experts` on the validation split, if they were here."""
        path = self._outputs(experts)
        if path is None or not path.exists():
            return None
        try:
            _, tensors = container.read(path, "outputs")
        except UsageError:
            return None
        return tensors["outputs"], tensors["labels"]

    def keep_outputs(self, experts: str, outputs: Tensor, labels: Tensor) -> None:
        """Keep the outputs of these experts, and no others'."""
        path = self._outputs(experts)
        if path is not None:
            with _tolerant():
                _forget(list(path.parent.glob("*.outputs")))
                container.write(path, "outputs", {}, {"outputs": outputs, "labels": labels})

    def _outputs(self, experts: str) -> Path | None:
        run = self._run
        return None if run is None else run / f"{sha256(experts.encode(), self._worked_by)[:32]}.outputs"

    def _path(self, kind: str) -> Path | None:
        run = self._run
        if run is None:
            return None
        key = sha256(self.request.digest.encode(), self._worked_by)[:32]
        return run / f"{self.request.task}-{key}.{kind}"

    @property
    def _worked_by(self) -> bytes:
        """What an answer depends on beside its request: it is not given again where that has changed."""
        return sha256(self.site.digest.encode(), self.version.encode()).encode()

    @property
    def _run(self) -> Path | None:
        """The folder of the request's run; its name is a hash, since a run's name comes from outside."""
        return None if self.folder is None else self.folder / "work" / sha256(self.request.run.encode())[:16]


@contextlib.contextmanager
def _tolerant() -> Iterator[None]:
    try:
        yield
    except (MosaicError, OSError) as error:
        log.warning("a finished step could not be kept: %s", error)


def _age(path: Path) -> int:
    return path.stat().st_mtime_ns


def _forget(paths: list[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
