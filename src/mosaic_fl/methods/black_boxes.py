"""Asking black boxes in a run: rounds of queries until everything that the distillation will ask is answered."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from mosaic_fl.config import Config
from mosaic_fl.errors import MosaicError
from mosaic_fl.exchange.contribution import Contribution
from mosaic_fl.exchange.federation import Federation
from mosaic_fl.exchange.query import Query
from mosaic_fl.experts.answers.book import AnswerBook
from mosaic_fl.notes import note
from mosaic_fl.server.black_boxes import questions


@dataclass(frozen=True)
class Asked:
    """The `contributions` with which a distillation goes on, what black boxes answered, and bytes a client for it."""

    contributions: list[Contribution]
    books: Mapping[int, AnswerBook] = field(default_factory=dict)
    up: Mapping[int, int] = field(default_factory=dict)
    down: Mapping[int, int] = field(default_factory=dict)


def ask_black_boxes(
    federation: Federation, contributions: Sequence[Contribution], config: Config, device: torch.device, *, judged: bool
) -> Asked:
    """Everything that `distill` will ask black boxes, answered; without a black box nothing is asked.

    Which samples these are is drawn beforehand (`server.black_boxes`). A black box that gives no answers is left out
    with its contribution, since nobody else speaks for it; what the others have answered stays. `judged` says whether
    clients are asked how to teach. Raises MosaicError where no contribution is left.
    """
    left = list(contributions)
    classes = contributions[0].schema.num_classes
    books = {c.client: AnswerBook(c.client, classes) for c in contributions if c.is_black_box}
    rounds = Counter[int]()
    up = Counter[int]()
    down = Counter[int]()
    while books and (missing := questions(left, books, config, device, judged=judged)):
        rounds.update(missing.keys())
        queries = [
            Query(client, rounds[client], left[0].schema, samples) for client, samples in sorted(missing.items())
        ]
        answers = {answer.client: answer for answer in federation.answer(queries)}
        for query in queries:
            if query.client not in answers:
                del books[query.client]
                left = [c for c in left if c.client != query.client]
                note(f"client {query.client} is a black box without answers: its contribution is left out")
                continue
            answer = answers[query.client]
            books[query.client].add(query.samples, answer.answers.log_probabilities(classes))
            up[query.client] += len(answer.to_bytes())
            down[query.client] += len(query.content)
        if not left:
            raise MosaicError("every client is a black box, and none of them gave answers: nothing is left to distil")
    return Asked(left, books, up, down)
