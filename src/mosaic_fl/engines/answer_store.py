"""The answers of black boxes in a run: each is a stage of the journal, and a resumed run asks only who is missing."""

from dataclasses import dataclass

from mosaic_fl.engines.tasks import TaskResult
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.query import Answer, Query, answer_to
from mosaic_fl.storage.journal import Journal, Stage

ASKING = "answer"
"""The stage in which black boxes are asked; an engine on a network puts the number of the query's round behind it."""


@dataclass(frozen=True)
class AnswerStore:
    """The answers in `journal`, by client and round."""

    journal: Journal

    def keep(self, query: Query, answer: Answer, result: TaskResult) -> None:
        """Store a checked answer to a query."""
        info = {"query": query.digest, "client": answer.client, "form": answer.answers.form}
        info["classes"] = list(answer.classes)
        stage = Stage({"values": answer.answers.values}, info, result.seconds, result.metrics)
        self.journal.keep(_stage(query), stage)

    def recall(self, query: Query) -> Answer | None:
        """The answer to this very query; None where there is none, or only one to another."""
        stage = self.journal.recall(_stage(query))
        if stage is None or stage.info.get("query") != query.digest:
            return None
        try:
            return answer_to(query, stage.info, stage.tensors, _stage(query))
        except UsageError:  # damaged: it is asked again
            return None

    def seconds(self, query: Query) -> float:
        """The seconds of work that the stored answer has cost its client."""
        stage = self.journal.recall(_stage(query))
        return 0.0 if stage is None else stage.seconds


def _stage(query: Query) -> str:
    return f"answer-{query.client:03d}-{query.round}"
