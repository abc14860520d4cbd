"""The engine over Flower's grid: a `Federation` whose methods send requests to the clients of one run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from mosaic_fl.config import Config
from mosaic_fl.domains.dataset import Dataset
from mosaic_fl.domains.schema import Schema
from mosaic_fl.engines.answer_store import ASKING, AnswerStore
from mosaic_fl.engines.contribution_store import ContributionStore, StoreEntry
from mosaic_fl.engines.flower import answer_codec, codec, wire
from mosaic_fl.engines.flower.boost_codec import boosted_answer
from mosaic_fl.engines.flower.client import MISSING
from mosaic_fl.engines.flower.codec import Deliver, FitFusion
from mosaic_fl.engines.flower.exchange import Exchange
from mosaic_fl.engines.flower.stages import Stages
from mosaic_fl.engines.losses import LOSS_COLUMNS
from mosaic_fl.engines.tasks import (
    AnswerTask,
    BoostTask,
    ContributeTask,
    EvaluateTask,
    FitTask,
    StatisticsTask,
    TaskResult,
)
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.audited import Audited
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import FitJob, Fitted, GrowJob, Start, SumJob
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.exchange.query import Answer, Query, answer_from
from mosaic_fl.exchange.site_scores import SiteScores
from mosaic_fl.numerics.states import State
from mosaic_fl.storage import container
from mosaic_fl.storage.files import sha256
from mosaic_fl.storage.journal import Journal, Stage
from mosaic_fl.storage.stopwatch import CLIENTS

MEMBERS = "federation"  # the stage with the members at the run's start: a resumed run goes on with their schema
CONTRIBUTED = "contributed"
"""The stage with the clients whose contributions the run uses. After it the run requests no contributions."""


class FlowerFederation(Stages):
    """A `Federation` of `exchange.roll`'s clients, numbered 0 to `expected` − 1.

    Stores each answer in `journal` and its folder at once, so a resumed run does not request it again. Raises
    MosaicError where fewer than `exchange.limits.clients` contribute or take part in a round.
    """

    def __init__(self, exchange: Exchange, config: Config, journal: Journal) -> None:
        super().__init__(exchange, config, journal)
        self.alone = dict[int, Mapping[str, float]]()
        self.audits = dict[int, Audited]()
        self.scores = dict[int, SiteScores]()  # of the global model, by those that tell them
        self._members: tuple[Schema, list[str]] | None = None
        self._experts_at: dict[int, str] = {}  # by client: the digest of the experts that it has
        self._round = ""  # the suffix of stages between rounds: the number of the round before them

    def open(self) -> None:
        """Wait for the clients, or recall those of an earlier start; raises MosaicError where too few join."""
        roll = self.exchange.roll
        stage = self.journal.recall(MEMBERS)
        if stage is not None:
            roll.schema = Schema.from_json(stage.info["schema"])
            roll.keys = {int(client): key for client, key in stage.info["keys"].items()}
            self._members = roll.schema, list(stage.info["architectures"])
            return
        with self.journal.clock.stage("join"):
            self.exchange.gather()
        if roll.members:
            roll.agree()
        self._require("join", len(roll.members), self.exchange.limits.clients)
        assert roll.schema is not None
        # An absent client may still join, so it has an entry, too: the architecture of the first member.
        first = roll.members[min(roll.members)].architecture
        names = [roll.members[k].architecture if k in roll.members else first for k in range(roll.expected)]
        self._members = roll.schema, names
        self.remember()

    def remember(self) -> None:
        """Store the members with their keys, also those that join late, for a resumed run."""
        keys = {str(client): key for client, key in sorted(self.exchange.roll.keys.items())}
        stage = self.journal.recall(MEMBERS)
        if stage is None or stage.info["keys"] != keys:
            info = {"schema": self.schema.to_json(), "architectures": list(self.architectures), "keys": keys}
            self.journal.keep(MEMBERS, Stage({}, info))

    @property
    def schema(self) -> Schema:
        """The schema of all clients' samples."""
        assert self._members is not None
        return self._members[0]

    @property
    def architectures(self) -> Sequence[str]:
        """The name of each client's architecture."""
        assert self._members is not None
        return self._members[1]

    def contribute(self, start: Mapping[int, Start] | None = None) -> list[Contribution]:
        """The contributions of all clients that answer, some perhaps from the store."""
        store = ContributionStore(self.journal)
        entries = {k: entry for k in range(len(self.architectures)) if (entry := store.recall(k)) is not None}
        contributions = self._request_contributions(store, entries, start or {})
        self.alone |= {contribution.client: contribution.validation for contribution in contributions}
        self.audits |= {one.client: one.audit for one in contributions if one.audit is not None}
        return contributions

    def _request_contributions(
        self, store: ContributionStore, entries: Mapping[int, StoreEntry], starts: Mapping[int, Start]
    ) -> list[Contribution]:
        """The contributions of `entries` and of further clients, unless an earlier start of the run has fixed them."""
        stage = self.journal.recall(CONTRIBUTED)
        if stage is not None:
            return [_require_entry(client, entries).contribution for client in stage.info["clients"]]
        for client in entries:
            self.exchange.tell("received", client, stage="contribute", bytes=store.size(client), seconds=0.0, kept=True)

        def accept(answer: wire.Answer) -> Contribution:
            contribution = answer_codec.decode_contribution(answer.body, answer.client, self.schema)
            return store.keep(contribution, TaskResult(answer.body, answer.seconds, answer.metrics))

        clients = [client for client in range(len(self.architectures)) if client not in entries]
        work = {client: ContributeTask(client, starts.get(client)) for client in clients}
        limits = self.exchange.limits
        least = limits.clients - len(entries)
        contributions = {client: entry.contribution for client, entry in entries.items()}
        with self.journal.clock.stage(CLIENTS):
            if work:
                contributions |= self._ask("contribute", self._requests(work), limits.contribute, accept, least)
        self.journal.listen(CLIENTS, -1, 1, 1)
        self._require("contribute", len(contributions), limits.clients)
        self.journal.keep(CONTRIBUTED, Stage({}, {"clients": sorted(contributions)}))
        return [contribution for _, contribution in sorted(contributions.items())]

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """The answers of black boxes, of those that answer as they should; some perhaps from the store.

        Raises MosaicError where, without the others, fewer clients than `exchange.limits.clients` are left.
        """
        store = AnswerStore(self.journal)
        by_client = {query.client: query for query in queries}
        answers = {k: answer for k, query in by_client.items() if (answer := store.recall(query)) is not None}

        def accept(message: wire.Answer) -> Answer:
            query = by_client[message.client]
            answer = answer_from(query, message.body, "its answer")
            store.keep(query, answer, TaskResult(message.body, message.seconds, message.metrics))
            return answer

        work = {k: AnswerTask(query) for k, query in by_client.items() if k not in answers}
        if work:
            stage = f"{ASKING} {queries[0].round}"
            with self.journal.clock.stage(ASKING):
                answers |= self._ask(stage, self._requests(work), self.exchange.limits.answer, accept)
            contributed = self.journal.recall(CONTRIBUTED)
            senders = len(contributed.info["clients"]) if contributed is not None else len(self.architectures)
            self._require(stage, senders - len(by_client.keys() - answers.keys()), self.exchange.limits.clients)
        return [answers[k] for k in by_client if k in answers]

    def fit(self, jobs: Sequence[FitJob], round: int) -> list[Fitted]:
        """The weights after each client's job, of the clients that answer."""
        work = {job.client: FitTask(job, round) for job in jobs}
        self._round = f" {round}"

        def accept(answer: wire.Answer) -> Fitted:
            job = work[answer.client].job
            fitted = answer_codec.decode_fitted(answer.body, answer.client, job.state, self.schema.num_classes)
            answer_codec.probe(job.architecture, self.schema, fitted.state)
            return fitted

        self.cache.turn()
        return self._round_of(round, work, accept)

    def boost(self, job: GrowJob | SumJob, clients: Sequence[int], round: int) -> list[Fitted]:
        """The answers of those of `clients` that answer."""
        if self._round != f" {round}":  # the levels of a tree are one round
            self.cache.turn()
        self._round = f" {round}"
        work = {k: BoostTask(k, job, round) for k in clients}

        def accept(answer: wire.Answer) -> Fitted:
            manifest, tensors = container.unpack(answer.body, answer_codec.RESULT, "answer")
            return boosted_answer(manifest, tensors, answer.client, job, self.schema)

        return self._round_of(round, work, accept)

    def statistics(self, architecture: str, state: State) -> list[Fitted]:
        """The batch-norm statistics of `state` on each client's training data, of the clients that answer."""
        work = {k: StatisticsTask(k, architecture, state) for k in range(len(self.architectures))}

        def accept(answer: wire.Answer) -> Fitted:
            return answer_codec.decode_fitted(answer.body, answer.client, state, self.schema.num_classes, whole=False)

        return list(self._collect(f"statistics{self._round}", work, self.exchange.limits.evaluate, accept).values())

    def evaluate(
        self, architecture: str, state: State, clients: Sequence[int] | None = None, *, losses: bool = False
    ) -> list[Tensor]:
        """The confusion matrices or losses of `clients`, or of all, that answer, on their validation splits."""
        return list(self.judge(architecture, state, clients, losses=losses).values())

    def judge(
        self, architecture: str, state: State, clients: Sequence[int] | None = None, *, losses: bool = False
    ) -> dict[int, Tensor]:
        """As `evaluate`, by client number."""
        judges = range(len(self.architectures)) if clients is None else clients
        work = {k: EvaluateTask(k, architecture, state, losses) for k in judges}
        accept = self._losses if losses else self._confusion
        return self._collect(f"evaluate{self._round}", work, self.exchange.limits.evaluate, accept)

    def tally(self, count: Callable[[Dataset], Mapping[str, int]]) -> Mapping[str, int]:
        return {}  # no function travels to the clients

    def fit_fusion(
        self,
        contributions: Sequence[Contribution],
        state: State,
        clients: Sequence[int],
        settings: Mapping[str, Any],
        round: int,
    ) -> list[Fitted]:
        """The aggregator `state`, trained by each of `clients`. A client that has stored the experts gets them once."""
        files = dict(sorted((c.client, c.without_generator().to_bytes()) for c in contributions))
        experts = sha256(*files.values())
        work = {k: FitFusion(experts, state, settings, round) for k in clients}
        limit = self.exchange.limits.fit
        stage = f"fusion {round}"
        without_experts = set[int]()

        def accept(answer: wire.Answer) -> Fitted | None:
            """None where the client does not have the experts."""
            if answer.facts.get(MISSING) is True:
                without_experts.add(answer.client)
                return None
            return answer_codec.decode_fused(answer.body, answer.client, state)

        self.cache.turn()
        extra = codec.encode_experts(files)
        extras = {k: b"" if self._experts_at.get(k) == experts else extra for k in clients}
        answers = self._collect(stage, work, limit, accept, extras)
        self._experts_at |= dict.fromkeys(answers.keys() - without_experts, experts)
        if without_experts:
            again = {k: work[k] for k in sorted(without_experts)}
            answers |= self._collect(f"{stage}, again", again, limit, accept, dict.fromkeys(again, extra))
        fitted = [answer for k in clients if (answer := answers.get(k)) is not None]
        self._require(stage, len(fitted), min(len(clients), self.exchange.limits.clients))
        return fitted

    def deliver(self, model: GlobalModel) -> dict[int, Tensor]:
        """Send the global model to every client; returns its confusion matrices, as `judge`, and keeps `scores`."""

        def accept(answer: wire.Answer) -> Tensor:
            confusion = self._confusion(answer)
            scores = answer_codec.decode_scores(answer.body, answer.client, self.schema.num_classes)
            if scores is not None:
                self.scores[answer.client] = scores
            return confusion

        delivery = Deliver(model.to_bytes())
        work = dict.fromkeys(range(len(self.architectures)), delivery)
        with self.journal.clock.stage("deliver"):
            return self._ask("deliver", self._requests(work), self.exchange.limits.evaluate, accept)

    def close(self) -> None:
        """End the run: delete the answers that only a resume of its rounds needs."""
        self.cache.clear()

    def _confusion(self, answer: wire.Answer) -> Tensor:
        return answer_codec.decode_counts(answer.body, self.schema.num_classes, self.schema.num_classes)

    def _losses(self, answer: wire.Answer) -> Tensor:
        return answer_codec.decode_counts(answer.body, 1, LOSS_COLUMNS)


def _require_entry(client: int, entries: Mapping[int, StoreEntry]) -> StoreEntry:
    if client not in entries:
        raise MosaicError(
            f"the contribution of client {client}, with which this run went on, is gone or changed: "
            "put contributions/ back, or start over with --force"
        )
    return entries[client]
