"""A model that does not answer: for samples unlike anything the sites know, and for those of which it is least sure."""

from collections.abc import Iterator
from dataclasses import replace

from mosaic_fl.errors import UsageError
from mosaic_fl.exchange.assurance import Assurance
from mosaic_fl.runs.predicting import Prediction

STRANGE = "unlike anything the sites know"
UNSURE = "among the least sure"


def check_abstaining(assurance: Assurance | None, model: str) -> None:
    """Raise UsageError where the file `model` cannot say what is strange."""
    if assurance is None or assurance.density is None:
        raise UsageError(
            f"{model} does not say what is strange: an earlier version made it, or a method without samples of "
            "generators, or rounds of averaging followed, or samples "
            "have several fields; distil again with mosaic, or take --least-sure 0.1 alone"
        )


def without_strange(predictions: Iterator[Prediction]) -> Iterator[Prediction]:
    """The predictions, where the model abstains from strange samples."""
    for prediction in predictions:
        strangeness = prediction.answer.strangeness
        yield replace(prediction, abstained=STRANGE) if strangeness is not None and strangeness > 1 else prediction


def without_least_sure(predictions: Iterator[Prediction], share: float) -> list[Prediction]:
    """All predictions, where the model abstains from the `share` in 0..1 of those it answers that it is least sure of.

    Equally sure ones are taken in their order.
    """
    everything = list(predictions)
    open_places = [place for place, one in enumerate(everything) if one.answer.probabilities and not one.abstained]
    order = sorted(open_places, key=lambda place: _sureness(everything[place]))
    for place in order[: round(share * len(order))]:
        everything[place] = replace(everything[place], abstained=UNSURE)
    return everything


def _sureness(prediction: Prediction) -> float:
    answer = prediction.answer
    return max(answer.probabilities) if answer.confidence is None else answer.confidence
