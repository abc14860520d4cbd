"""The clients of one run, reached over Flower's grid."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, TypeVar

from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.flower.client import MISSING
from mosaic_fl.engines.flower.codec import (
    NAMES,
    Deliver,
    FitFusion,
    Work,
    decode_confusion,
    decode_contribution,
    decode_fitted,
    decode_fused,
    encode,
    encode_experts,
    kind_of,
    probe,
)
from mosaic_fl.engines.flower.exchange import Exchange
from mosaic_fl.engines.flower.received import Received
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.engines.kept import Kept, KeptContributions
from mosaic_fl.engines.tasks import ContributeTask, Done, EvaluateTask, FitTask, StatisticsTask
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, Start
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.numerics.states import State
from mosaic_fl.storage.files import sha256
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.storage.stopwatch import CLIENTS

Value = TypeVar("Value")

MEMBERS = "federation"
"""The stage that says who was there when the run began: a resumed one goes on with their schema and architectures."""
CONTRIBUTED = "contributed"
"""The stage that says whose contributions the run goes on with: after it, nobody is asked for one again."""


class FlowerFederation:
    """A `Federation` of `exchange.roll`'s clients, numbered 0 to `expected` − 1.

    What was received is kept in `journal` and its folder at once, and never asked for again. Raises MosaicError where
    fewer than `exchange.limits.clients` contribute or take part in a round.
    """

    def __init__(self, exchange: Exchange, config: Config, journal: Journal) -> None:
        self.exchange = exchange
        self.config = config
        self.journal = journal
        self.received = Received(journal.folder)
        self.alone = dict[int, Mapping[str, float]]()
        self._members: tuple[Schema, list[str]] | None = None
        self._experts_at: dict[int, str] = {}
        self._after = ""  # which round it is, for the names of stages between rounds

    def open(self) -> None:
        """Wait for the clients, or recall who they were; raises MosaicError where too few come."""
        roll = self.exchange.roll
        kept = self.journal.recall(MEMBERS)
        if kept is not None:
            roll.schema = Schema.from_json(kept.info["schema"])
            roll.keys = {int(client): key for client, key in kept.info["keys"].items()}
            self._members = roll.schema, list(kept.info["architectures"])
            return
        with self.journal.clock.stage("join"):
            self.exchange.gather()
        if roll.members:
            roll.agree()
        self._require("join", len(roll.members), self.exchange.limits.clients)
        assert roll.schema is not None
        # Who is not there gets a place, in case it comes; weights of its own model are asked for when it does.
        first = roll.members[min(roll.members)].architecture
        names = [roll.members[k].architecture if k in roll.members else first for k in range(roll.expected)]
        self._members = roll.schema, names
        self._remember()

    def _remember(self) -> None:
        """Keep who is there, with who came late: a resumed run waits for them, and knows their keys."""
        keys = {str(client): key for client, key in sorted(self.exchange.roll.keys.items())}
        kept = self.journal.recall(MEMBERS)
        if kept is None or kept.info["keys"] != keys:
            info = {"schema": self.schema.to_json(), "architectures": list(self.architectures), "keys": keys}
            self.journal.keep(MEMBERS, Stage({}, info))

    @property
    def schema(self) -> Schema:
        """What all clients' samples are."""
        assert self._members is not None
        return self._members[0]

    @property
    def architectures(self) -> Sequence[str]:
        """The name of each client's architecture."""
        assert self._members is not None
        return self._members[1]

    def contribute(self, start: Mapping[int, Start] | None = None) -> list[Contribution]:
        """The contributions of all clients that give one."""
        kept = KeptContributions(self.journal)
        begin = start or {}
        found = {k: had for k in range(len(self.architectures)) if (had := kept.recall(k)) is not None}
        settled = self.journal.recall(CONTRIBUTED)
        if settled is not None:
            return self._noted([self._settled(client, found).contribution for client in settled.info["clients"]])
        for client in found:
            self.exchange.tell("received", client, stage="contribute", bytes=kept.size(client), seconds=0.0, kept=True)
        missing = [client for client in range(len(self.architectures)) if client not in found]

        def accept(answer: Answer) -> Contribution:
            made = decode_contribution(answer.body, answer.client, self.schema)
            kept.keep(answer.client, Done(answer.body, answer.seconds, answer.metrics))
            return made

        work = {client: ContributeTask(client, begin.get(client)) for client in missing}
        limit = self.exchange.limits.contribute
        least = self.exchange.limits.clients - len(found)
        with self.journal.clock.stage(CLIENTS):
            made = self._ask("contribute", self._requests(work), limit, accept, least) if missing else {}
        self.journal.listen(CLIENTS, -1, 1, 1)
        everyone = {client: had.contribution for client, had in found.items()} | made
        self._require("contribute", len(everyone), self.exchange.limits.clients)
        clients = sorted(everyone)
        self.journal.keep(CONTRIBUTED, Stage({}, {"clients": clients}))
        return self._noted([everyone[client] for client in clients])

    def _noted(self, contributions: list[Contribution]) -> list[Contribution]:
        self.alone |= {made.client: made.validation for made in contributions}
        return contributions

    def _settled(self, client: int, found: Mapping[int, Kept]) -> Kept:
        if client not in found:
            raise MosaicError(
                f"the contribution of client {client}, with which this run went on, is gone or changed: "
                "put contributions/ back, or start over with --force"
            )
        return found[client]

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The weights of the clients that have a job after it, of those that answer."""
        work = {job.client: FitTask(job, round) for job in jobs}
        asked = {job.client: job for job in jobs}
        self._after = f" {round}"

        def accept(answer: Answer) -> Fitted:
            job = asked[answer.client]
            fitted = decode_fitted(answer.body, answer.client, job.state, self.schema.num_classes)
            probe(job.architecture, self.schema, fitted.state)
            return fitted

        self.received.turn()
        least = min(len(jobs), self.exchange.limits.clients)
        answers = self._collect(f"round {round}", work, self.exchange.limits.fit, accept, least=least)
        self._require(f"round {round}", len(answers), least)
        return list(answers.values())

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        """The batch-norm statistics of `state` on each client's training data, of those that answer."""
        work = {k: StatisticsTask(k, architecture, state) for k in range(len(self.architectures))}

        def accept(answer: Answer) -> Fitted:
            return decode_fitted(answer.body, answer.client, state, self.schema.num_classes, whole=False)

        return list(self._collect(f"statistics{self._after}", work, self.exchange.limits.evaluate, accept).values())

    def evaluate(self, architecture: str, state: State, clients: Sequence[int] | None = None) -> list[Tensor]:
        """The confusion matrices of `clients`, or of all, on their validation splits, of those that answer."""
        return list(self._judged(architecture, state, clients).values())

    def judge(self, architecture: str, state: State) -> dict[int, Tensor]:
        """As `evaluate` of all clients, by the number of each that answers."""
        return self._judged(architecture, state)

    def _judged(self, architecture: str, state: State, clients: Sequence[int] | None = None) -> dict[int, Tensor]:
        asked = range(len(self.architectures)) if clients is None else clients
        work = {k: EvaluateTask(k, architecture, state) for k in asked}
        return self._collect(f"evaluate{self._after}", work, self.exchange.limits.evaluate, self._confusion)

    def fit_fusion(
        self,
        contributions: Sequence[Contribution],
        state: State,
        clients: Sequence[int],
        settings: Mapping[str, Any],
        round: int,
    ) -> list[Fitted]:
        """The aggregator `state`, trained by each of `clients`; the experts go once to each that keeps them."""
        files = dict(sorted((c.client, c.without_generator().to_bytes()) for c in contributions))
        experts = sha256(*files.values())
        work = {k: FitFusion(experts, state, settings, round) for k in clients}
        limit = self.exchange.limits.fit
        stage = f"fusion {round}"
        missing = set[int]()

        def accept(answer: Answer) -> Fitted | None:
            """None where the client has not the experts."""
            if answer.facts.get(MISSING) is True:
                missing.add(answer.client)
                return None
            return decode_fused(answer.body, answer.client, state)

        self.received.turn()
        extra = encode_experts(files)
        beside = {k: b"" if self._experts_at.get(k) == experts else extra for k in clients}
        answers = self._collect(stage, work, limit, accept, beside)
        self._experts_at |= dict.fromkeys(answers.keys() - missing, experts)
        if missing:
            again = {k: work[k] for k in sorted(missing)}
            answers |= self._collect(f"{stage}, again", again, limit, accept, dict.fromkeys(again, extra))
        fitted = [one for k in clients if (one := answers.get(k)) is not None]
        self._require(stage, len(fitted), min(len(clients), self.exchange.limits.clients))
        return fitted

    def deliver(self, model: GlobalModel) -> dict[int, Tensor]:
        """Give every client the global model; returns what `judge` does."""
        delivery = Deliver(model.to_bytes())
        work = dict.fromkeys(range(len(self.architectures)), delivery)
        with self.journal.clock.stage("deliver"):
            return self._ask("deliver", self._requests(work), self.exchange.limits.evaluate, self._confusion)

    def close(self) -> None:
        """The run is over: what was kept for a resume of its rounds is no longer needed."""
        self.received.clear()

    def _confusion(self, answer: Answer) -> Tensor:
        return decode_confusion(answer.body, self.schema.num_classes)

    def _collect(
        self,
        stage: str,
        work: Mapping[int, Work],
        limit: float,
        accept: Callable[[Answer], Value],
        extra: Mapping[int, bytes] = MappingProxyType({}),
        least: int = 0,
    ) -> dict[int, Value]:
        """As `_ask`, with answers that an earlier start of the run received."""
        requests = self._requests(work, extra)
        answers = dict[int, Value]()
        for client, request in requests.items():
            with suppress(UsageError):
                kept = self.received.recall(request)
                if kept is not None:
                    answers[client] = accept(kept)

        def keep(answer: Answer) -> Value:
            value = accept(answer)
            if value is not None:
                self.received.keep(requests[answer.client], answer)
            return value

        missing = {client: request for client, request in requests.items() if client not in answers}
        if missing:
            answers |= self._ask(stage, missing, limit, keep, least - len(answers))
        return {client: answers[client] for client in work if client in answers}

    def _ask(
        self,
        stage: str,
        requests: Mapping[int, Request],
        limit: float,
        accept: Callable[[Answer], Value],
        least: int = 0,
    ) -> dict[int, Value]:
        try:
            return self.exchange.ask(stage, requests, limit, accept, least)
        finally:
            self._remember()

    def _requests(
        self, work: Mapping[int, Work], extra: Mapping[int, bytes] = MappingProxyType({})
    ) -> dict[int, Request]:
        """A request for each client's work; that of equal work is made, hashed and kept once."""
        made = dict[Hashable, Request]()
        requests = {}
        for client, one in work.items():
            kind = kind_of(one)
            if kind not in made:
                made[kind] = Request(self.exchange.roll.run, NAMES[type(one)], client, encode(one, self.config))
            requests[client] = made[kind].said_to(client, extra.get(client, b""))
        return requests

    def _require(self, stage: str, count: int, least: int) -> None:
        if count < least:
            raise MosaicError(
                f"{stage}: {count} of {self.exchange.roll.expected} clients, but at least {least} are needed: "
                "see mosaic status for who is missing and why, then go on with --resume, or lower --min-clients"
            )
