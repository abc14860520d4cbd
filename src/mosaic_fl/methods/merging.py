"""What a round makes of its answers: their mean by samples, or by the rule of `rounds.aggregate`."""

from collections.abc import Sequence

from mosaic_fl.config import RoundsConfig
from mosaic_fl.config.aggregation import fewest, liars_among
from mosaic_fl.exchange.federation import Fitted
from mosaic_fl.notes import note
from mosaic_fl.numerics.aggregation import aggregate
from mosaic_fl.numerics.states import State, weighted_sum


def merged(fitted: Sequence[Fitted], before: State, rounds: RoundsConfig) -> State:
    """The weights after a round that began with `before`; `fitted` are the answers, one at least.

    Where too few answered for the rule to stand its liars, the weights stay as they were, and a note says so.
    """
    if rounds.aggregate == "mean":
        return weighted_average(fitted)
    liars = liars_among(len(fitted), rounds.liars)
    least = fewest(rounds.aggregate, liars)
    if len(fitted) < least:
        note(
            f"a round changes nothing: {len(fitted)} clients answered, and rounds.aggregate = {rounds.aggregate} takes "
            f"{least} to stand {liars}"
        )
        return before
    states = [f.state for f in fitted]
    return aggregate(rounds.aggregate, states, [f.samples for f in fitted], liars, mix=rounds.mix)


def weighted_average(fitted: Sequence[Fitted]) -> State:
    """Σ_k n_k/n · θ_k, by the clients' training samples."""
    total = sum(f.samples for f in fitted)
    return weighted_sum([f.state for f in fitted], [f.samples / total for f in fitted])
