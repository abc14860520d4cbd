"""The desk of a client: it answers every request, and recalls from its own disk what it has finished before.

The client's own log has every error in full. The server receives one of a few fixed sentences.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from mosaic_fl.client.contribute import Site
from mosaic_fl.client.custody import CONTRIBUTION, Custody
from mosaic_fl.config import Config
from mosaic_fl.config.encoder_names import AUTOMATIC
from mosaic_fl.config.model_names import ANSWERS, CLOSED_FORMS, NO_MODEL
from mosaic_fl.config.privacy import PrivacyConfig
from mosaic_fl.config.privacy_checks import check_private, of_site
from mosaic_fl.encoders.naming import require_built_in
from mosaic_fl.engines.flower.answer_codec import Delivered, encode_result
from mosaic_fl.engines.flower.codec import NAMES, Deliver, FitFusion, Work, decode, decode_experts
from mosaic_fl.engines.flower.contributing import answer_query, contribute
from mosaic_fl.engines.flower.leaving import KINDS
from mosaic_fl.engines.flower.memory import Memory
from mosaic_fl.engines.flower.scoring import scores_at
from mosaic_fl.engines.flower.signing import sign
from mosaic_fl.engines.flower.turn import alone
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.engines.tasks import (
    AnswerTask,
    BoostTask,
    ContributeTask,
    EvaluateTask,
    FitTask,
    FusionTask,
    OutputsTask,
    TaskResult,
    Workplace,
)
from mosaic_fl.engines.workers import one_thread
from mosaic_fl.errors import GateError, MosaicError, RefusalError, UsageError
from mosaic_fl.exchange.audited import audit_in
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.feature_moments import moments_encoder
from mosaic_fl.exchange.federation import SumJob
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.privacy import Statement, stated
from mosaic_fl.experts.answers.form import NoAnswersError
from mosaic_fl.experts.answers.kind import is_black_box
from mosaic_fl.release import release
from mosaic_fl.storage.files import sha256, write_atomic
from mosaic_fl.storage.keys import PrivateKey
from mosaic_fl.training.monitor import deaf

HELLO = "hello"
MISSING = "missing"
"""A fact of an answer: the client does not have the experts of the request."""

LATER = "later"
"""A fact of an answer: the client is at work on something else; ask later."""

VERSION = release()
"""The version of the running code, read before another version can be installed beside it."""

log = logging.getLogger("mosaic_fl.client")


@dataclass(frozen=True)
class Desk:
    """Where a client works: its data, its device, and the folder of its memory (None: no memory).

    `privacy` is what the site itself demands, with ε = 0 nothing. With an ε nothing but noisy contributions leaves it,
    whatever a server asks for. `signer` signs each answer, with None nobody does. `custody` has its limits and log.
    """

    client: int
    site: Callable[[], Site]
    device: torch.device
    folder: Path | None = None
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    signer: PrivateKey | None = None
    custody: Custody = field(default_factory=Custody)

    def answer(self, request: Request) -> Answer:
        """The answer to a request, signed. Never raises, since Flower waits forever for a client without an answer."""
        return sign(self._unsigned(request), self.signer)

    def _unsigned(self, request: Request) -> Answer:
        draft = Answer(request.run, request.digest, self.client)
        try:
            if request.task == HELLO:  # also during other work
                facts = self._facts()
                self.custody.write("greeting", to=self.custody.to, samples=facts["samples"])
                return replace(draft, facts=facts)
            with alone(self.folder, request.serial) as obstacle:
                if obstacle:
                    return replace(draft, reason=obstacle, facts={LATER: True})
                return self._answer(request, draft)
        except NoAnswersError as error:  # its text has numbers alone
            log.error("client %s: %s: %s", self.client, request.task, error)
            return replace(draft, reason=f"its black box gave no answers: {error}")
        except RefusalError as error:
            log.error("client %s: %s refused: %s", self.client, request.task, error)
            self._log_refusal(request, error)
            return replace(draft, reason=f"it refuses the request: {error}")
        except UsageError as error:
            log.error("client %s: %s: %s", self.client, request.task, error)
            return replace(draft, reason="it refuses the request, or its own data or model is wrong: see its log")
        except GateError as error:  # its figures stay here: they are of what does not leave
            log.error("client %s: %s: %s", self.client, request.task, error)
            self._log_refusal(request, error)
            return replace(draft, reason="its own audit does not let its contribution leave: see its log")
        except MosaicError as error:
            log.error("client %s: %s: %s", self.client, request.task, error)
            return replace(draft, reason="its work failed: see its log")
        except (Exception, SystemExit) as error:
            log.exception("client %s: %s", self.client, request.task)
            out_of_memory = isinstance(error, MemoryError) or "out of memory" in str(error)
            reason = "it ran out of memory" if out_of_memory else "a defect stopped its work"
            return replace(draft, reason=f"{reason}: see its log")

    def _answer(self, request: Request, draft: Answer) -> Answer:
        """The answer from memory, or the `draft` with the result of new work."""
        if request.task not in NAMES.values():
            raise UsageError(f"nobody here can do {request.task[:40]!r}")
        if request.client != self.client:
            raise UsageError(f"the request is for client {request.client}")
        site = self.site()
        demand = self.privacy.model_dump_json() if self.privacy.epsilon else self.custody.demand
        memory = Memory(self.folder, request, site, VERSION, demand)
        self.custody.read(site)
        work, config = decode(request.task, request.body, self.client)
        config = self.custody.with_gate(_with_encoder(self._private(site, work, config), site))
        self._check(site, work, config)
        recalled = memory.answer()
        if recalled is not None:
            log.info("client %s: %s was finished before", self.client, request.task)
            self._release(site, work, recalled, memory)
            return recalled
        if not config.privacy.epsilon:
            self.custody.foresee(site, KINDS[type(work)], None)
        elif isinstance(work, ContributeTask) and memory.release() is None:
            self.custody.foresee(site, CONTRIBUTION, Statement(config.privacy.epsilon, config.privacy.delta))
        log.info("client %s: %s begins", self.client, request.task)
        start = time.perf_counter()
        place = Workplace({self.client: site}, config, self.device, deaf)
        answer = self._work(work, request.extra, place, memory, draft)
        log.info("client %s: %s done in %.1f s", self.client, request.task, time.perf_counter() - start)
        if not answer.facts.get(MISSING):
            self._release(site, work, answer, memory)
            memory.keep(answer)
        return answer

    def _check(self, site: Site, work: Work, config: Config) -> None:
        """Raise RefusalError for work beyond the site's limits."""
        self.custody.check(site, config, self.device, KINDS[type(work)])
        if isinstance(work, FitTask):
            self.custody.check_steps(work.job.settings)
        if isinstance(work, BoostTask) and isinstance(work.job, SumJob):
            self.custody.check_sums()

    def _release(self, site: Site, work: Work, answer: Answer, memory: Memory) -> None:
        """Log that the answer leaves; raises RefusalError where a budget does not allow it, and nothing leaves then."""
        statement = stated(answer.body) if isinstance(work, ContributeTask) else None
        about: dict[str, Any] = {"task": NAMES[type(work)], "run": answer.run}
        if isinstance(work, ContributeTask) and (found := audit_in(answer.body)) is not None:
            log.info("client %s: the contribution %s", self.client, found.summary)
            about["audit"] = found.summary
        if self.privacy.epsilon and statement is None:
            about["empty"] = True  # a private site judges on no sample
        draw = "" if statement is None else memory.release_digest()
        self.custody.release(site, KINDS[type(work)], answer.body, statement, draw, **about)

    def _log_refusal(self, request: Request, error: MosaicError) -> None:
        try:
            self.custody.write(
                "refused", to=self.custody.to, task=request.task[:40], run=request.run, reason=str(error)
            )
        except MosaicError as fault:  # nothing leaves anyway
            log.error("client %s: %s", self.client, fault)

    def _private(self, site: Site, work: Work, config: Config) -> Config:
        """The configuration with the site's own privacy; raises RefusalError where it forbids the work."""
        config = config.model_copy(update={"privacy": of_site(config.privacy, self.privacy)})
        # No validation split is held back here, so the answers to the other two are empty.
        if config.privacy.epsilon and not isinstance(work, ContributeTask | EvaluateTask | Deliver):
            raise RefusalError(f"epsilon = {self.privacy.epsilon:g}: {NAMES[type(work)]} would leave without noise")
        if site.architecture in (*CLOSED_FORMS, NO_MODEL):  # another name might say more than the server knows
            try:
                check_private(config, [site.architecture])
            except UsageError as error:
                raise RefusalError(str(error)) from error
        return config

    def _work(self, work: Work, extra: bytes, place: Workplace, memory: Memory, draft: Answer) -> Answer:
        with one_thread():
            match work:
                case ContributeTask():
                    result = contribute(replace(work, figures=self.custody.figures), place, memory)
                    metrics = result.metrics if self.custody.figures else []
                    return replace(draft, body=result.value, seconds=result.seconds, metrics=metrics)
                case AnswerTask():
                    result = answer_query(work, place, memory)
                    return replace(draft, body=result.value, seconds=result.seconds, metrics=result.metrics)
                case FitFusion():
                    fusion = self._fuse(work, extra, place, memory)
                    if fusion is None:
                        return replace(draft, facts={MISSING: True})
                    result = fusion
                case Deliver():
                    result = self._deliver(work, place, memory)
                case _:
                    result = work(place)
        return replace(draft, body=encode_result(result.value), seconds=result.seconds, metrics=result.metrics)

    def _fuse(self, work: FitFusion, extra: bytes, place: Workplace, memory: Memory) -> TaskResult | None:
        """The result of training the aggregator. None where neither the experts' outputs nor the experts are here."""
        outputs_and_labels = memory.outputs(work.experts)
        if outputs_and_labels is None:
            if not extra:
                return None
            files = decode_experts(extra)
            if sha256(*files.values()) != work.experts:
                raise UsageError("request: the experts are not those that it names")
            experts = [Contribution.from_bytes(data, f"expert {k}") for k, data in files.items()]
            bare = tuple(expert.without_generator() for expert in experts)
            outputs_and_labels = OutputsTask(self.client, bare)(place).value
            memory.keep_outputs(work.experts, *outputs_and_labels)
        outputs, labels = outputs_and_labels
        return FusionTask(self.client, outputs, labels, work.state, work.settings, work.round)(place)

    def _deliver(self, work: Deliver, place: Workplace, memory: Memory) -> TaskResult:
        """Store the global model, and measure it and the site's own on this client's validation split."""
        model = GlobalModel.from_bytes(work.model, "the global model")
        if self.folder is not None:
            write_atomic(self.folder / "global_model.safetensors", work.model)
        judged = EvaluateTask(self.client, model.architecture, model.state)(place)
        scores = scores_at(place, self.client, model, memory.own(), self.custody)
        told = scores if self.custody.figures else None
        return replace(judged, value=Delivered(judged.value, told))

    def _facts(self) -> dict[str, Any]:
        """The facts by which the server admits this client."""
        site = self.site()
        return {
            "mosaic_fl": VERSION,
            "client": self.client,
            "architecture": ANSWERS if is_black_box(site.architecture) else site.architecture,
            "schema": site.data.schema.to_json(),
            "samples": 0 if self.privacy.epsilon else len(site.data),  # 0: not told
            "time": datetime.now(UTC).timestamp(),
        }


def _with_encoder(config: Config, site: Site) -> Config:
    """The configuration, without class moments where their encoder is not here: then the site takes part as ever.

    A name from a server makes built-in encoders alone: none is imported, read from a file or fetched for it.
    """
    name = config.moments.encoder
    if not name:
        return config
    try:
        if name not in AUTOMATIC:
            require_built_in(name)
        moments_encoder(config, site.data.schema)
    except UsageError as error:
        log.warning("client %s tells no class moments: %s", site.client, error)
        return config.with_values({"moments.encoder": ""})
    return config
