"""A client's side: a request in, an answer out, always; what was finished is on its own disk and not done twice.

What goes wrong here is told to the client's own log in full. The server hears one of a few sentences.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.config import Config
from mosaic_fl.engines.flower.codec import NAMES, Deliver, FitFusion, Work, decode, decode_experts, encode_result
from mosaic_fl.engines.flower.memory import Memory
from mosaic_fl.engines.flower.turn import alone
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.engines.tasks import ContributeTask, Done, EvaluateTask, FusionTask, OutputsTask, Workplace
from mosaic_fl.engines.workers import one_thread
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.storage.files import sha256, write_atomic
from mosaic_fl.training.monitor import deaf

HELLO = "hello"
MISSING = "missing"
"""A fact of an answer: the experts that the request names are not here."""

LATER = "later"
"""A fact of an answer: this client is at work on something else, so ask it later."""

VERSION = version("mosaic-fl")
"""Of the code that runs here, which may have been imported before another was installed."""

log = logging.getLogger("mosaic_fl.client")


@dataclass(frozen=True)
class Desk:
    """Where one client works: its data, its device, and the folder of its memory (None: it has none)."""

    client: int
    site: Callable[[], Site]
    device: torch.device
    folder: Path | None = None

    def answer(self, request: Request) -> Answer:
        """What this client says to a request; never raises, since Flower waits for ever on a client that is silent."""
        said = Answer(request.run, request.digest, self.client)
        try:
            if request.task == HELLO:  # also while it works
                return replace(said, facts=self._facts())
            with alone(self.folder, request.serial) as turn:
                if turn:
                    return replace(said, reason=turn, facts={LATER: True})
                return self._answer(request, said)
        except UsageError as error:
            log.error("client %s: %s: %s", self.client, request.task, error)
            return replace(said, reason="it refuses the request, or its own data or model is wrong: see its log")
        except MosaicError as error:
            log.error("client %s: %s: %s", self.client, request.task, error)
            return replace(said, reason="its work failed: see its log")
        except (Exception, SystemExit) as error:
            log.exception("client %s: %s", self.client, request.task)
            memory = isinstance(error, MemoryError) or "out of memory" in str(error)
            reason = "it ran out of memory" if memory else "a defect stopped its work"
            return replace(said, reason=f"{reason}: see its log")

    def _answer(self, request: Request, said: Answer) -> Answer:
        if request.task not in NAMES.values():
            raise UsageError(f"nobody here can do {request.task[:40]!r}")
        if request.client != self.client:
            raise UsageError(f"the request is for client {request.client}")
        site = self.site()
        memory = Memory(self.folder, request, site, VERSION)
        kept = memory.answer()
        if kept is not None:
            log.info("client %s: %s was finished before", self.client, request.task)
            return kept
        work, config = decode(request.task, request.body, self.client)
        log.info("client %s: %s begins", self.client, request.task)
        start = time.perf_counter()
        place = Workplace({self.client: site}, config, self.device, deaf)
        answer = self._work(work, request.extra, place, memory, said)
        log.info("client %s: %s done in %.1f s", self.client, request.task, time.perf_counter() - start)
        if not answer.facts.get(MISSING):
            memory.keep(answer)
        return answer

    def _work(self, work: Work, extra: bytes, place: Workplace, memory: Memory, said: Answer) -> Answer:
        with one_thread():
            match work:
                case ContributeTask():
                    done = _contribute(work, place, memory)
                    return replace(said, body=done.value, seconds=done.seconds, metrics=done.metrics)
                case FitFusion():
                    fused = self._fuse(work, extra, place, memory)
                    if fused is None:
                        return replace(said, facts={MISSING: True})
                    done = fused
                case Deliver():
                    done = self._deliver(work, place)
                case _:
                    done = work(place)
        return replace(said, body=encode_result(done.value), seconds=done.seconds, metrics=done.metrics)

    def _fuse(self, work: FitFusion, extra: bytes, place: Workplace, memory: Memory) -> Done | None:
        """The aggregator trained on; None where its experts' outputs are not known here and were not sent."""
        kept = memory.outputs(work.experts)
        if kept is None:
            if not extra:
                return None
            files = decode_experts(extra)
            if sha256(*files.values()) != work.experts:
                raise UsageError("request: the experts are not those that it names")
            experts = [Contribution.from_bytes(data, f"expert {k}") for k, data in files.items()]
            bare = tuple(expert.without_generator() for expert in experts)
            kept = OutputsTask(self.client, bare)(place).value
            memory.keep_outputs(work.experts, *kept)
        outputs, labels = kept
        return FusionTask(self.client, outputs, labels, work.state, work.settings, work.round)(place)

    def _deliver(self, work: Deliver, place: Workplace) -> Done:
        """Keep the global model, and measure it on this client's validation split."""
        model = GlobalModel.from_bytes(work.model, "the global model")
        if self.folder is not None:
            write_atomic(self.folder / "global_model.safetensors", work.model)
        return EvaluateTask(self.client, model.architecture, model.state)(place)

    def _facts(self) -> dict[str, Any]:
        """Who is here, for a server that asks."""
        site = self.site()
        return {
            "mosaic_fl": VERSION,
            "client": self.client,
            "architecture": site.architecture,
            "schema": site.data.schema.to_json(),
            "samples": len(site.data),
            "time": datetime.now(UTC).timestamp(),
        }


def _contribute(work: ContributeTask, place: Workplace, memory: Memory) -> Done:
    """In two steps, of which the first, the classifier, outlives a kill during the second."""
    config: Config = place.config
    if config.generator.family == "none" and not config.prototypes.per_class:
        return work(place)
    bare = memory.classifier()
    if bare is None:
        bare = replace(work, bare=True)(place)
        memory.keep_classifier(bare)
    trained = Contribution.from_bytes(bare.value, "the classifier that was kept")
    whole = replace(work, trained=trained)(place)
    return Done(whole.value, bare.seconds + whole.seconds, [*bare.metrics, *whole.metrics])
