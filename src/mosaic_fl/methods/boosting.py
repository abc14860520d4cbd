"""The rounds of methods whose global model is an ensemble of trees, and how many of the rounds serve."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from mosaic_fl.config import Config
from mosaic_fl.domains.schema import Schema
from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.federation import Federation, Fitted
from mosaic_fl.exchange.global_model import GlobalModel
from mosaic_fl.experts.boosted import HEAD, BoostedTrees
from mosaic_fl.experts.ensemble import between, empty, joined, json_state, of_state, to_state
from mosaic_fl.methods.averaging import participants, probability_of_truth
from mosaic_fl.methods.outcome import Outcome
from mosaic_fl.methods.sending import with_result
from mosaic_fl.numerics.states import State
from mosaic_fl.storage.journal import Journal, Stage, round_name
from mosaic_fl.training.monitor import Monitor

SOURCE = "trees of this round"


@dataclass(frozen=True)
class Growth:
    """What a round adds: its `trees`, the clients' first `answers`, and bytes from and to each by its number."""

    trees: BoostedTrees
    answers: Sequence[Fitted]
    up: Mapping[int, int]
    down: Mapping[int, int]


Grow = Callable[[BoostedTrees, Sequence[int], int], Growth]
"""(ensemble so far, clients that take part, round) -> what the round adds."""


def boosted_rounds(federation: Federation, config: Config, journal: Journal, grow: Grow) -> Outcome:
    """`config.rounds.warm_up` rounds, at least one; the ensemble with the least loss on validation rows serves.

    With each answer comes the loss of the ensemble so far on the client's validation rows. After
    `config.boosting.patience` rounds without a better mean no client is asked any more. Where no client holds rows
    back, and with a patience of 0, all rounds serve.
    """
    schema = federation.schema
    clients = range(len(federation.architectures))
    rounds = range(max(1, config.rounds.warm_up))
    patience = config.boosting.patience

    def work_round(previous: Stage, round: int, monitor: Monitor) -> tuple[State, dict[str, Any]]:
        losses: list[float | None] = previous.info.get("losses", [])
        nothing = {str(client): 0 for client in clients}
        if _is_over(losses, patience):
            return previous.tensors, {**previous.info, "participants": [], "up": nothing, "down": nothing}
        trees = of_state(previous.tensors, schema, SOURCE)
        cohort = participants(clients, config.rounds.participation, config.run.seed, round)
        growth = grow(trees, cohort, round)
        loss = _mean_loss(growth.answers)
        if loss is not None:
            monitor.log(round, validation_loss=loss)
        trees = joined([trees, growth.trees])
        return to_state(trees), {
            "participants": [answer.client for answer in growth.answers],
            "losses": [*losses, loss],  # the first is that of no trees
            "counts": [*previous.info.get("counts", []), len(trees.roots)],
            "up": nothing | {str(client): size for client, size in growth.up.items()},
            "down": nothing | {str(client): size for client, size in growth.down.items()},
        }

    last = journal.rounds(rounds, Stage(to_state(empty(schema.num_classes))), work_round)
    trees = of_state(last.tensors, schema, SOURCE)
    losses: list[float | None] = last.info["losses"]

    def choose(monitor: Monitor) -> tuple[State, dict[str, Any]]:
        if not patience:
            return {}, {"rounds": len(losses)}
        final = None
        if not _is_over(losses, patience):
            tables = federation.evaluate(HEAD, json_state(trees, schema), losses=True)
            chance = probability_of_truth(tables)
            final = -log(max(chance, 1e-300)) if chance is not None else None
        return {}, {"rounds": _best([*losses[1:], final])}

    served = journal.stage("choice", choose).info["rounds"]
    chosen = between(trees, 0, last.info["counts"][served - 1])
    model = GlobalModel(f"{HEAD}:{served}", schema, json_state(chosen, schema))
    stages = [stage.info for round in rounds if (stage := journal.recall(round_name(round)))]
    up, down = ([sum(info[way][str(client)] for info in stages) for client in clients] for way in ("up", "down"))
    return Outcome(model, up, with_result(down, model))


def _is_over(losses: Sequence[float | None], patience: int) -> bool:
    """Whether the least loss lies `patience` rounds back; `losses` are those before each round."""
    known = [loss for loss in losses[1:] if loss is not None]
    return bool(patience and known) and len(known) - 1 - known.index(min(known)) >= patience


def _best(losses: Sequence[float | None]) -> int:
    """The number of rounds after which the loss is least, of `losses` after each; all of them where none is there."""
    known = [(loss, count) for count, loss in enumerate(losses, 1) if loss is not None]
    return min(known)[1] if known else len(losses)


def _mean_loss(answers: Sequence[Fitted]) -> float | None:
    """The mean over all clients' validation rows, in nats; None where there are none."""
    rows = sum(answer.validation["samples"] for answer in answers)
    return sum(a.validation["loss"] * a.validation["samples"] for a in answers) / rows if rows else None


def size_of(state: State) -> int:
    """Bytes of the tensors of a message."""
    return sum(tensor.nbytes for tensor in state.values())


def check_boosting(config: Config, schema: Schema, models: Sequence[str], student: str) -> None:
    """Raise UsageError, before any work, where trees cannot learn from such samples."""
    if not schema.of_rows or len(schema.fields) > 1:
        raise UsageError(
            f"{config.run.method} grows trees on rows of a table, and samples are {schema.summary}: take fedavg or "
            "mosaic, or give it a table (--label-column)"
        )
