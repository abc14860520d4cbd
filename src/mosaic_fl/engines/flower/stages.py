"""The server's stages over Flower: work for clients as requests, and what comes back, also from an earlier start."""

from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TypeVar

from mosaic_fl.config import Config
from mosaic_fl.engines.flower import codec
from mosaic_fl.engines.flower.answer_cache import AnswerCache
from mosaic_fl.engines.flower.codec import NAMES, Work
from mosaic_fl.engines.flower.exchange import Exchange
from mosaic_fl.engines.flower.wire import Answer, Request
from mosaic_fl.errors import MosaicError, UsageError
from mosaic_fl.storage.journal import Journal

Value = TypeVar("Value")


class Stages:
    """The stages of one run over `exchange`; `cache` has the answers of the present round."""

    def __init__(self, exchange: Exchange, config: Config, journal: Journal) -> None:
        self.exchange = exchange
        self.config = config
        self.journal = journal
        self.cache = AnswerCache(journal.folder)

    def remember(self) -> None:
        """Store who is there, after each stage."""

    def _collect(
        self,
        stage: str,
        work: Mapping[int, Work],
        limit: float,
        accept: Callable[[Answer], Value],
        extra: Mapping[int, bytes] = MappingProxyType({}),
        least: int = 0,
    ) -> dict[int, Value]:
        """As `_ask`, but answers in the cache need no request, and new ones go into it."""
        requests = self._requests(work, extra)
        answers = dict[int, Value]()
        for client, request in requests.items():
            with suppress(UsageError):
                answer = self.cache.recall(request)
                if answer is not None:
                    answers[client] = accept(answer)

        def keep(answer: Answer) -> Value:
            value = accept(answer)
            if value is not None:
                self.cache.keep(requests[answer.client], answer)
            return value

        open_requests = {client: request for client, request in requests.items() if client not in answers}
        if open_requests:
            answers |= self._ask(stage, open_requests, limit, keep, least - len(answers))
        return {client: answers[client] for client in work if client in answers}

    def _round_of(self, round: int, work: Mapping[int, Work], accept: Callable[[Answer], Value]) -> list[Value]:
        """The answers in a round of training; raises MosaicError where there are too few."""
        least = min(len(work), self.exchange.limits.clients)
        answers = self._collect(f"round {round}", work, self.exchange.limits.fit, accept, least=least)
        self._require(f"round {round}", len(answers), least)
        return list(answers.values())

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
            self.remember()

    def _requests(
        self, work: Mapping[int, Work], extra: Mapping[int, bytes] = MappingProxyType({})
    ) -> dict[int, Request]:
        """A request for each client's work. Clients with equal work share one body, which is hashed once."""
        by_kind = dict[Hashable, Request]()
        requests = {}
        for client, task in work.items():
            kind = codec.kind_of(task)
            if kind not in by_kind:
                by_kind[kind] = Request(
                    self.exchange.roll.run, NAMES[type(task)], client, codec.encode(task, self.config)
                )
            requests[client] = by_kind[kind].for_client(client, extra.get(client, b""))
        return requests

    def _require(self, stage: str, count: int, least: int) -> None:
        if count < least:
            raise MosaicError(
                f"{stage}: {count} of {self.exchange.roll.expected} clients, but at least {least} are needed: "
                "see mosaic status for who is missing and why, then go on with --resume, or lower --min-clients"
            )
