"""A client's memory on its own disk: finished answers, and finished steps of unfinished ones."""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from mosaic_fl.client.contribute import Site
from mosaic_fl.client.private import with_model
from mosaic_fl.config.model_names import CLOSED_FORMS, NO_MODEL
from mosaic_fl.engines.flower import answer_file
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.engines.tasks import TaskResult
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.storage import container
from mosaic_fl.storage.files import remove_partial, sha256, write_atomic

log = logging.getLogger("mosaic_fl.client")
STAYS = frozenset({"contribute"})
"""Tasks whose answers stay as long as the run's folder."""
LATEST = 2  # answers that stay of each other task
RUNS = 4  # runs whose work stays


@dataclass(frozen=True)
class Memory:
    """A client's memory of one request, whose work is done at `site` by this `version` of the code.

    `demand` are the site's own settings of privacy or of its gate, empty without any. Without a `folder` there is no
    memory, and the site's data are not hashed. A damaged file counts as absent. A failure to write, as on a full disk,
    is only logged, since the work itself is done. Both are otherwise for a private release (`release`, `keep_release`).
    """

    folder: Path | None
    request: Request
    site: Site
    version: str
    demand: str = ""

    def answer(self) -> Answer | None:
        """The finished answer, or None."""
        content = answer_file.read(self._path("answer"))
        return None if content is None else Answer(**content[0], body=content[1])

    def keep(self, answer: Answer) -> None:
        """Store a finished answer, and delete old ones."""
        path = self._path("answer")
        if path is not None:
            with _log_failure():
                self._keep(path, answer)

    def _keep(self, path: Path, answer: Answer) -> None:
        if path.parent.exists():
            remove_partial(path.parent)
        head = {name: value for name, value in asdict(answer).items() if name != "body"}
        answer_file.write(path, head, answer.body, answer.body_digest)
        if self.request.task not in STAYS:
            _forget(sorted(path.parent.glob(f"{self.request.task}-*.answer"), key=_age)[:-LATEST])
        _forget(sorted(path.parent.parent.iterdir(), key=_age)[:-RUNS])
        for step in path.parent.glob(f"{path.stem}.classifier"):
            step.unlink()

    def own(self) -> Contribution | None:
        """The latest contribution of this run, or None."""
        run = self._run
        paths = sorted(run.glob("contribute-*.answer"), key=_age) if run is not None else []
        content = answer_file.read(paths[-1]) if paths else None
        return None if content is None else Contribution.from_bytes(content[1], "the stored contribution")

    def classifier(self) -> TaskResult | None:
        """The contribution without generator and prototypes, if that step is finished, or None."""
        content = answer_file.read(self._path("classifier"))
        return None if content is None else TaskResult(content[1], content[0]["seconds"], content[0]["metrics"])

    def keep_classifier(self, result: TaskResult) -> None:
        """Store the first step of a contribution."""
        path = self._path("classifier")
        if path is not None:
            with _log_failure():
                answer_file.write(path, {"seconds": result.seconds, "metrics": result.metrics}, result.value)

    def held(self) -> Contribution | None:
        """The model that this black box has trained for queries with the same settings, or None."""
        content = answer_file.read(self._held())
        return None if content is None else Contribution.from_bytes(content[1], "the stored model")

    def keep_held(self, model: Contribution) -> None:
        """Store the model by which this black box answers, in place of any other."""
        path = self._held()
        if path is not None:
            with _log_failure():
                _forget(list(path.parent.glob("*.held")))
                answer_file.write(path, {}, model.to_bytes())

    def release(self) -> bytes | None:
        """The private contribution that these data made before, in whichever run, or None.

        The site's model of today follows from its noisy sums. Raises UsageError where it is damaged: to make another
        one would cost ε again.
        """
        path = next((path for path in self._releases() if path.exists()), None)
        if path is None:
            return None
        contribution = Contribution.from_bytes(container.read_bytes(path), str(path))
        contribution = replace(contribution, client=self.site.client)
        if self._follows:
            contribution = with_model(contribution, self.site.architecture)
        return contribution.to_bytes()

    def release_digest(self) -> str:
        """The SHA-256 of that contribution as it was first made, by which the ledger knows its noise; "" for none."""
        path = next((path for path in self._releases() if path.exists()), None)
        return "" if path is None else sha256(container.read_bytes(path))

    def keep_release(self, content: bytes) -> None:
        """Store it before it is sent; raises MosaicError where that fails, since then it would be made again."""
        path = next(iter(self._releases()), None)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)

    def outputs(self, experts: str) -> tuple[Tensor, Tensor] | None:
        """(logits (n, K, C), labels (n,)) of the `experts` on the validation split, or None."""
        path = self._outputs(experts)
        if path is None or not path.exists():
            return None
        try:
            _, tensors = container.read(path, "outputs")
        except UsageError:
            return None
        return tensors["outputs"], tensors["labels"]

    def keep_outputs(self, experts: str, outputs: Tensor, labels: Tensor) -> None:
        """Store the outputs of these experts, in place of any others'."""
        path = self._outputs(experts)
        if path is not None:
            with _log_failure():
                _forget(list(path.parent.glob("*.outputs")))
                container.write(path, "outputs", {}, {"outputs": outputs, "labels": labels})

    @property
    def _follows(self) -> bool:
        """Whether the site's model follows from noisy sums of its data, whichever it is."""
        return self.site.architecture in (*CLOSED_FORMS, NO_MODEL)

    def _releases(self) -> list[Path]:
        """Its file: of the site's data and privacy, and of no run; then that of version 0.10, also of a model.

        A network has learnt by noise of its own, so its release is of the model, too.
        """
        if self.folder is None:
            return []
        digests = (self.site.data_digest, self.site.digest) if self._follows else (self.site.digest,)
        names = [sha256(digest.encode(), self.demand.encode())[:32] for digest in digests]
        return [self.folder / "released" / f"{name}.contribution" for name in names]

    def _held(self) -> Path | None:
        """Its file: of the run, whose settings stay the same, and of the site's model and data."""
        run = self._run
        return None if run is None else run / f"{sha256(self._producer)[:32]}.held"

    def _outputs(self, experts: str) -> Path | None:
        run = self._run
        return None if run is None else run / f"{sha256(experts.encode(), self._producer)[:32]}.outputs"

    def _path(self, kind: str) -> Path | None:
        run = self._run
        if run is None:
            return None
        key = sha256(self.request.digest.encode(), self._producer)[:32]
        return run / f"{self.request.task}-{key}.{kind}"

    @property
    def _producer(self) -> bytes:
        """The hash of what an answer depends on beside its request: the site's data and model, and the code."""
        return sha256(self.site.digest.encode(), (self.version + self.demand).encode()).encode()

    @property
    def _run(self) -> Path | None:
        """The folder of the request's run. Its name is a hash, since a run's name may be unsafe as a file name."""
        return None if self.folder is None else self.folder / "work" / sha256(self.request.run.encode())[:16]


@contextlib.contextmanager
def _log_failure() -> Iterator[None]:
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
